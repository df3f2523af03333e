#!/bin/sh
# A hook of mmdebstrap, before anything is installed: packages of the last build need not be fetched again. apt looks at their
# digests before it takes them.
set -eu
archives=$1/var/cache/apt/archives
mkdir -p "$archives"
find "$PACKAGE_CACHE/" -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp -l -t "$archives" {} + 2>/dev/null ||
    find "$PACKAGE_CACHE/" -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp -f -t "$archives" {} +

#!/bin/sh
# A hook of mmdebstrap, after all is installed: what was fetched is kept for the next build.
set -eu
archives=$1/var/cache/apt/archives
find "$archives" -maxdepth 1 -name '*.deb' -exec mv -f -t "$PACKAGE_CACHE" {} +

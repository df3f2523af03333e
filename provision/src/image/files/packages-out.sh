#!/bin/sh
# A hook of mmdebstrap, after all is installed: what was fetched is kept for the next build.
set -eu
archives=$1/var/cache/apt/archives
# What came from there is a second link to the same file, which mv refuses.
find "$archives" -maxdepth 1 -name '*.deb' -links +1 -delete
find "$archives" -maxdepth 1 -name '*.deb' -exec mv -f -t "$PACKAGE_CACHE/" {} +

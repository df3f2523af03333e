#!/bin/sh
# A hook of mmdebstrap, after all is installed: what was fetched is kept for the next build, with its digest.
set -eu
archives=$1/var/cache/apt/archives
exec 9<"$PACKAGE_CACHE/"
flock --timeout 600 9
# What came from there is a second link to the same file, which mv refuses.
find "$archives" -maxdepth 1 -name '*.deb' -links +1 -delete
(cd "$archives" && find . -maxdepth 1 -name '*.deb' -printf '%f\0' | xargs -0 -r sha256sum) >>"$PACKAGE_CACHE/SHA256SUMS"
find "$archives" -maxdepth 1 -name '*.deb' -exec mv -f -t "$PACKAGE_CACHE/" {} +

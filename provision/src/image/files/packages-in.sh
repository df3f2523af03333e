#!/bin/sh
# A hook of mmdebstrap, before anything is installed: packages of the last build need not be fetched again. Of what is there already
# apt looks at the size alone, so what is not what it was is removed here, and fetched again.
set -eu
archives=$1/var/cache/apt/archives
mkdir -p "$archives"
cd "$PACKAGE_CACHE/"
touch SHA256SUMS
sha256sum --check SHA256SUMS 2>/dev/null | sed -n 's/: OK$//p' | sort -u >"$archives/good"
find . -maxdepth 1 -name '*.deb' -printf '%f\n' | sort | comm -23 - "$archives/good" | xargs -r -d '\n' rm -f --
rm "$archives/good"
find . -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp -l -t "$archives" {} + 2>/dev/null ||
    find . -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp -f -t "$archives" {} +

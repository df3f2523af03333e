#!/bin/sh
# A hook of mmdebstrap, before anything is installed: packages of the last build need not be fetched again. Of what is there already
# apt looks at the size alone, so what is not what it was is removed here, and fetched again.
set -eu
export LC_ALL=C
archives=$1/var/cache/apt/archives
mkdir -p "$archives"
cd "$PACKAGE_CACHE/"
# One build at a time: another one may be about to add its packages and their digests.
exec 9<.
flock --timeout 600 9
touch SHA256SUMS
# Each line once, and only of what is there and is what it was: lines that no file has any more would be read again and again.
find . -maxdepth 1 -name '*.deb' -printf '%f\0' | xargs -0 -r sha256sum 2>/dev/null | sort >"$archives/there"
sort -u SHA256SUMS | comm -12 - "$archives/there" >"$archives/good"
cp "$archives/good" SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
sed 's/^[0-9a-f]*  //' "$archives/good" | sort >"$archives/names"
find . -maxdepth 1 -name '*.deb' -printf '%f\n' | sort | comm -23 - "$archives/names" | xargs -r -d '\n' rm -f --
rm "$archives/there" "$archives/good" "$archives/names"
# Where links cannot be made, copies are. A link that is there already is the same file to cp.
find . -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp -l -t "$archives" {} + 2>/dev/null ||
    find . -maxdepth 1 -name '*.deb' ! -name 'linux-*' -exec cp --remove-destination -t "$archives" {} +

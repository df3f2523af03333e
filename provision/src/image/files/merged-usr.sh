#!/bin/sh
# Links /bin, /sbin and /lib into /usr, before the first package is unpacked.
#
# Where a suite has the package that says so, mmdebstrap's own hooks install it; they spare the one that needs all of
# Perl. They must not be asked elsewhere: they take a name that other packages mention (as in Ubuntu's noble) for a package.
set -eu
root=$1
theirs=/usr/share/mmdebstrap/hooks/maybe-merged-usr/setup00.sh
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$root"
apt-get update --error-on=any
if [ -x "$theirs" ] && apt-cache policy usr-is-merged | grep -q '^ *Candidate: *[0-9]'; then
    exec "$theirs" "$root"
fi
for directory in bin sbin lib lib64; do
    mkdir -p "$root/usr/$directory"
    [ -e "$root/$directory" ] || ln -s "usr/$directory" "$root/$directory"
done

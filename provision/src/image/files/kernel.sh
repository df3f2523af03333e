#!/bin/sh
# Puts the kernel package KERNEL_PACKAGE into the root $1: the files of its images and modules, without installing it. Installed,
# it would bring tools for making an initramfs of its own, and make one.
#
# Runs as a hook of mmdebstrap, with its configuration of apt, or inside the root. KERNEL_CACHE, if set, is where packages are kept.
set -eu
root=$1
if [ -n "${MMDEBSTRAP_APT_CONFIG:-}" ]; then
    export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
fi

packages=$(apt-get -s --no-install-recommends install "$KERNEL_PACKAGE" |
    sed -n 's/^Inst \(linux-\(image\|modules\)-[^ ]*\) .*/\1/p')
if [ -z "$packages" ]; then
    echo "apt-get would install no package linux-image-* or linux-modules-* for $KERNEL_PACKAGE" >&2
    exit 1
fi

work=$root/.regexctl-kernel
mkdir "$work"
cd "$work"
# Where links cannot be made, copies are. A link that is there already is the same file to cp.
from_cache() {
    find "$KERNEL_CACHE/" -maxdepth 1 -name 'linux-*.deb' -exec cp -l -t . {} + 2>/dev/null ||
        find "$KERNEL_CACHE/" -maxdepth 1 -name 'linux-*.deb' -exec cp --remove-destination -t . {} +
}
into_cache() {
    sum=$(sha256sum "$1")
    grep -qxF "$sum" "$KERNEL_CACHE/SHA256SUMS" || echo "$sum" >>"$KERNEL_CACHE/SHA256SUMS"
    # What came from there is a second link to the same file, which cp alone refuses.
    cp --remove-destination "$1" "$KERNEL_CACHE/"
}
# One build at a time uses the cache.
if [ -n "${KERNEL_CACHE:-}" ]; then
    (flock --timeout 600 9 && from_cache) 9<"$KERNEL_CACHE/"
fi
# What is here already, and is what apt wants, is not fetched again. This user may read the directory, _apt may not.
# shellcheck disable=SC2086 # a list of names
apt-get -q -o APT::Sandbox::User=root download $packages
: >list
for package in $packages; do
    # apt writes the `:` of an epoch as %3a.
    version=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p' | head -n 1)
    file=$(find . -maxdepth 1 -name "${package%%:*}_$(echo "$version" | sed 's/:/%3a/g')_*.deb")
    [ -n "$file" ] || { echo "apt-get downloaded no $package of version $version" >&2; exit 1; }
    echo "${package%%:*} $version" >>list
    # Owners are root's. Where /lib is a link, it stays one.
    dpkg-deb --fsys-tarfile "$file" >plain.tar
    tar -xf plain.tar -C "$root" --keep-directory-symlink --exclude='./usr/share/*'
    rm plain.tar
    if [ -n "${KERNEL_CACHE:-}" ]; then
        (flock --timeout 600 9 && into_cache "${file#./}") 9<"$KERNEL_CACHE/"
    fi
done
mkdir -p "$root/var/lib/regexctl"
mv list "$root/var/lib/regexctl/kernel-packages"
cd /
rm -rf "$work"

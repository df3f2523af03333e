# Brings the root, and hands over to it. Sourced. NEW is where the root is mounted; empty where it is here already.

MEMORY_SPARE=48        # MiB that must stay free beside a packed root, for the system to start at all
MOUNT_TRIES=60         # tries to mount over NFS
LONGEST_PAUSE=${LONGEST_PAUSE:-30}

memory_available() { # KiB
    sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

load_nfs() {
    load -a nfs nfsv3 nfsv4 2>/dev/null
}

# Tens of megabytes that a small machine needs for the image. What is loaded stays loaded.
drop_modules() {
    rm -rf /lib/modules /lib/firmware
}

# The packed root over HTTP, into memory.
bring_image() {
    STAGE=image
    need=$((RP_SIZE / 1024 + MEMORY_SPARE * 1024))
    have=$(memory_available)
    if [ "$need" -gt "$have" ]; then
        fail "the image does not fit: with $MEMORY_SPARE MiB for the system it needs $((need / 1024)) MiB, and $((have / 1024)) MiB of memory are free"
    fi
    load -a loop "$RP_FORMAT" overlay 2>/dev/null
    [ -z "$RP_USR" ] || load_nfs
    drop_modules
    report image 1 0 "fetching $RP_SIZE bytes"
    mkdir -p "$RUN/image"
    # Room for the file and for nothing else: a server that sends more cannot fill the memory.
    mount -t tmpfs -o "nodev,nosuid,noexec,mode=0700,size=$((RP_SIZE + 1048576))" image "$RUN/image" ||
        fail "no memory for the image"
    image=$RUN/image/root.$RP_FORMAT
    fetch image "$RP_SERVER/artifact/$RP_IMAGE/root.$RP_FORMAT" "$image" "$RP_IMAGE" "$RP_SIZE"
    report verified 1 100 "SHA-256 $RP_IMAGE"
    STAGE=root
    mkdir -p "$RUN/lower"
    said=$(mount -t "$RP_FORMAT" -o ro,loop "$image" "$RUN/lower" 2>&1) ||
        fail "cannot mount the image as $RP_FORMAT: $said; the kernel said: $(last_words)"
    cover
}

last_words() {
    dmesg | tail -n 3 | sed 's/^\[[^]]*\] //' | tr '\n' ';'
}

# A writable layer in memory over the read-only root.
cover() {
    mkdir -p "$RUN/upper" "$NEW"
    mount -t tmpfs -o "mode=0755,size=$RP_WRITABLE" upper "$RUN/upper" ||
        fail "rp.writable=$RP_WRITABLE: not a size that a tmpfs can have"
    mkdir "$RUN/upper/files" "$RUN/upper/work"
    # The root's own mode, for the upper layer's is what is seen.
    chmod "$(stat -c %a "$RUN/lower")" "$RUN/upper/files"
    said=$(mount -t overlay -o "lowerdir=$RUN/lower,upperdir=$RUN/upper/files,workdir=$RUN/upper/work" overlay "$NEW" 2>&1) ||
        fail "cannot lay a writable layer over the root: $said; the kernel said: $(last_words)"
}

# mount_nfs SERVER:PATH DIRECTORY. Again and again, for the server may be restarting.
mount_nfs() {
    server=${1%%:*}
    case ,$RP_NFSOPTS, in
        *,vers=4* | *,nfsvers=4*)
            type=nfs4
            options=$RP_NFSOPTS,addr=$server,clientaddr=$RP_IP
            ;;
        *)
            type=nfs
            options=$RP_NFSOPTS,nolock,addr=$server,mountaddr=$server
            ;;
    esac
    load_nfs
    # NFS 4 knows its clients by their host names; two of one name would take each other's mounts away. This one is
    # the machine's own, and finish_root gives it its real one.
    hostname "mac-$(echo "$RP_MAC" | tr -d :)"
    mkdir -p "$2"
    mount_try=1
    wait_s=1
    until said=$(mount -i -t $type -o "ro,$options" "$1" "$2" 2>&1); do
        [ $mount_try -lt $MOUNT_TRIES ] ||
            fail "cannot mount $1 ($options) in $MOUNT_TRIES tries: $said; the kernel said: $(last_words)"
        report "$STAGE" 1 0 "cannot mount $1 ($options), trying again: $said"
        mount_try=$((mount_try + 1))
        pause "$wait_s"
        wait_s=$(longer "$wait_s" "$LONGEST_PAUSE")
    done
}

mount_nfs_root() {
    report image 1 0 "mounting $RP_NFS"
    load overlay 2>/dev/null
    mount_nfs "$RP_NFS" "$RUN/lower"
    report image 1 100 "mounted $RP_NFS"
    STAGE=root
    cover
}

mount_usr() {
    STAGE=root
    if [ -z "$NEW" ]; then
        # Memory that nobody could give back once the mount hides it.
        load_nfs
        rm -rf /usr/lib/modules /usr/lib/firmware
    fi
    mount_nfs "$RP_USR" "$NEW/usr"
}

# The node's own files, over those of the image.
add_own_files() {
    STAGE=root
    fetch root "$RP_SERVER/artifact/$RP_OVERLAY/overlay.tar" "$RUN/overlay.tar" "$RP_OVERLAY"
    said=$(tar -x -f "$RUN/overlay.tar" -C "$NEW/" 2>&1) || fail "cannot unpack the node's own files: $said"
    rm -f "$RUN/overlay.tar"
}

# What the root needs besides, if neither image nor overlay brought it.
finish_root() {
    STAGE=root
    # The kernel made it for everybody to write to; sshd lets nobody into such a root.
    [ -n "$NEW" ] || chmod 0755 /
    if [ -L "$NEW$RP_INIT" ] || [ -x "$NEW$RP_INIT" ]; then :; else
        fail "the root has no $RP_INIT"
    fi
    told=$(cat "$RUN/lease/hostname" 2>/dev/null)
    if [ ! -s "$NEW/etc/hostname" ] && [ -n "$told" ]; then
        echo "$told" >"$NEW/etc/hostname"
    fi
    hostname "$(cat "$NEW/etc/hostname" 2>/dev/null || echo localhost)"
    # A link leads to a resolver that makes its own file.
    if [ ! -L "$NEW/etc/resolv.conf" ] && [ ! -s "$NEW/etc/resolv.conf" ]; then
        domain=$(cat "$RUN/lease/domain" 2>/dev/null)
        {
            [ -z "$domain" ] || echo "search $domain"
            tr -s ' ' '\n' <"$RUN/lease/dns" | sed '/./!d; s/^/nameserver /'
        } >"$NEW/etc/resolv.conf"
    fi
    {
        echo "RP_SERVER=$RP_SERVER"
        echo "RP_MAC=$RP_MAC"
        echo "RP_BOOT=$RP_BOOT"
        echo "RP_IP=$RP_IP"
        echo "RP_INTERFACE=$INTERFACE"
        echo "RP_ROOT=$RP_ROOT"
        echo "RP_IMAGE=$RP_IMAGE"
        echo "RP_MANIFEST=$RP_MANIFEST"
    } >"$RUN/boot.env"
}

hand_over() {
    report root 1 100 "$RP_ROOT root is ready, starting $RP_INIT"
    rm -f "$RUN/udhcpc.log"
    if [ -z "$NEW" ]; then
        # The root is here: only what brought it goes. This shell holds its own program open.
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        "$RP/bin/rm" -rf "$RP" /init
        exec "$RP_INIT"
    fi
    for system in dev proc sys run; do
        mkdir -p "$NEW/$system"
        mount -o move "/$system" "$NEW/$system"
    done
    exec switch_root "$NEW" "$RP_INIT"
}

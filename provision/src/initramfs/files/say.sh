# What a node says: on its console, and to its server. Sourced.
#
# A report that cannot be delivered is dropped, for the next one tells more; it never holds a boot up for
# longer than REPORT_LIMIT.

REPORT_LIMIT=5 # seconds
FAIL_PAUSE=${FAIL_PAUSE:-30} # seconds between a failure and the panic
SYS=${SYS:-/sys}
: "${RP_BOOT:=}" "${RP_SERVER:=}" "${RP_ROOT:=}" "${RP_IMAGE:=}" "${RP_SIZE:=}" "${RP_FORMAT:=}" "${RP_NFS:=}" "${RP_USR:=}"
: "${RP_OVERLAY:=}" "${RP_MANIFEST:=}" "${RP_SHELL:=}" "${RP_BOOTIF:=}" "${RP_MAC:=}" "${RP_IP:=}" "${STAGE:=kernel}" "${DAMAGE:=}"

say() {
    echo "regex-provision: $*"
}

# Text as a field of a form: what has a meaning there is escaped, what cannot be shown is blanked.
form() {
    printf %s "$1" | tr '\000-\037\177' ' ' | sed 's/%/%25/g; s/&/%26/g; s/+/%2B/g; s/ /+/g'
}

# report STAGE OK PERCENT MESSAGE
report() {
    STAGE=$1
    say "$1: $4"
    [ -n "$RP_SERVER" ] && [ -n "$RP_MAC" ] || return 0
    timeout "$REPORT_LIMIT" wget -q -O /dev/null --post-data \
        "boot=$RP_BOOT&stage=$1&ok=$2&percent=$3&message=$(form "$4")" \
        "$RP_SERVER/stage/$RP_MAC" 2>/dev/null || true
}

# What the kernel said when it could not unpack all of the initramfs; nothing if it could.
find_damage() {
    said=$(dmesg | grep -m 1 -e 'Initramfs unpacking failed' -e 'rootfs image is not initramfs' | sed 's/^\[[^]]*\] //')
    case $said in
        '') ;;
        *'write error'*) echo "the memory is too small for the initramfs: $said" ;;
        *) echo "the initramfs is damaged: $said; build the image again${RP_MANIFEST:+ ($RP_MANIFEST)}" ;;
    esac
}

# What cannot be tried again. The panic that ends it makes the kernel boot again after `panic=` seconds.
fail() {
    # Whatever else is wrong is a consequence.
    [ -z "$DAMAGE" ] || set -- "$DAMAGE${1:+; therefore: $1}"
    report "$STAGE" 0 0 "$1"
    say "FAILED: $1"
    if [ "$RP_SHELL" = 1 ]; then
        say "a shell, for rp.shell=1; leave it to boot again"
        setsid sh -c 'exec sh </dev/console >/dev/console 2>&1'
    else
        say "booting again in $FAIL_PAUSE s"
        sleep "$FAIL_PAUSE"
    fi
    say "FAILED: $1"
    exit 1
}

is_digest() {
    case $1 in
        *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} -eq 64 ]
}

is_number() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
}

# ADDRESS:/PATH, and the address in figures: nothing here asks a DNS server.
is_export() {
    case $1 in
        *:/*) is_address "${1%%:/*}" ;;
        *) return 1 ;;
    esac
}

is_address() {
    case $1 in
        *[!0-9.]* | *..* | .* | *.) return 1 ;;
        *.*.*.*.*) return 1 ;;
        *.*.*.*) ;;
        *) return 1 ;;
    esac
}

# A number below $1 that no other node draws at the same time.
random_below() {
    echo $(($(od -An -N2 -tu2 /dev/urandom) % $1))
}

# Sleeps for between half of $1 seconds and all of it: nodes that failed together do not come back together.
pause() {
    pause_ms=$(($1 * 500 + $(random_below $(($1 * 500 + 1)))))
    sleep "$((pause_ms / 1000)).$(printf %03d $((pause_ms % 1000)))"
}

# The next pause behind one of $1 seconds, at most $2.
longer() {
    if [ $(($1 * 2)) -gt "$2" ]; then
        echo "$2"
    else
        echo $(($1 * 2))
    fi
}

# An unknown machine: tells what it is, and waits until somebody approves it. Sourced.

ASK_EVERY=${ASK_EVERY:-5} # seconds, about

# Text as a JSON string.
json() {
    printf '"%s"' "$(printf %s "$1" | tr '\000-\037\177' ' ' | sed 's/\\/\\\\/g; s/"/\\"/g; s/^ *//; s/ *$//')"
}

first_line() { # FILE
    head -n 1 "$1" 2>/dev/null
}

# Disks that are devices of their own: no loops, no memory, nothing that can be taken out.
disks() {
    comma=''
    for path in "$SYS"/block/*; do
        [ -e "$path/device" ] || continue
        [ "$(first_line "$path/removable")" != 1 ] || continue
        sectors=$(first_line "$path/size")
        printf '%s{"name":%s,"model":%s,"bytes":%s}' "$comma" "$(json "${path##*/}")" \
            "$(json "$(first_line "$path/device/model")")" $((${sectors:-0} * 512))
        comma=,
    done
}

nics() {
    comma=''
    for path in "$SYS"/class/net/*; do
        [ -e "$path/device" ] || continue
        carrier=false
        [ "$(first_line "$path/carrier")" != 1 ] || carrier=true
        speed=$(first_line "$path/speed")
        case $speed in
            '' | *[!0-9]*) speed=null ;;
        esac
        printf '%s{"name":%s,"mac":%s,"driver":%s,"carrier":%s,"speed_mbps":%s}' "$comma" "$(json "${path##*/}")" \
            "$(json "$(first_line "$path/address")")" "$(json "$(driver_of "${path##*/}")")" $carrier "$speed"
        comma=,
    done
}

inventory() {
    printf '{"vendor":%s,"product":%s,"serial":%s,"memory_kib":%s,"cores":%s,"disks":[%s],"nics":[%s]}' \
        "$(json "$(first_line "$SYS/class/dmi/id/sys_vendor")")" \
        "$(json "$(first_line "$SYS/class/dmi/id/product_name")")" \
        "$(json "$(first_line "$SYS/class/dmi/id/product_serial")")" \
        "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" \
        "$(grep -c '^processor' /proc/cpuinfo)" \
        "$(disks)" "$(nics)"
}

# Whether the server has a boot script for this machine that does not say `wait`.
approved() {
    script=$(timeout 10 wget -q -O - "$RP_SERVER/boot/$RP_MAC.ipxe" 2>/dev/null) || return 1
    case $script in
        *rp.root=wait*) return 1 ;;
        *rp.root=*) return 0 ;;
        *) return 1 ;;
    esac
}

wait_until_approved() {
    index=/lib/modules/$(uname -r)/modules.alias
    cat "$index.disks" >>"$index"
    coldplug
    said_once=''
    while :; do
        # Each time, for the server may have been restarted.
        if timeout 10 wget -q -O /dev/null --header 'Content-Type: application/json' \
            --post-data "$(inventory)" "$RP_SERVER/discover/$RP_MAC" 2>/dev/null; then
            [ -n "$said_once" ] || report kernel 1 0 "unknown machine $RP_MAC, waiting to be approved"
            said_once=yes
        else
            say "cannot tell $RP_SERVER what this machine is; trying again"
        fi
        pause "$ASK_EVERY"
        if approved; then
            report kernel 1 0 "approved, booting again"
            reboot -f
            # The kernel needs a moment to go down.
            sleep 60
        fi
    done
}

# Drivers, the interface, and its address. Sourced.

PLUG_ROUNDS=6        # a bus behind a bus behind a bus; virtio needs two
INTERFACE_LIMIT=60   # seconds until the card's driver has made an interface
CARRIER_LIMIT=20     # seconds until the cable has a signal
LEASE_LIMIT=300      # seconds until a DHCP server has answered
LONGEST_PAUSE=${LONGEST_PAUSE:-30} # seconds between two tries of anything

# In a ramdisk the image's own modprobe is there, and knows how its modules are packed.
load() {
    if [ -x /sbin/modprobe ]; then
        /sbin/modprobe "$@"
    else
        modprobe "$@"
    fi
}

# Loads what the devices want that are there now. Again and again, for a bus shows its devices only when it has a driver.
coldplug() {
    plugged=''
    plug_round=0
    while [ $plug_round -lt $PLUG_ROUNDS ]; do
        plug_round=$((plug_round + 1))
        wanted=$(cat "$SYS"/bus/*/devices/*/modalias 2>/dev/null | sort -u)
        [ "$wanted" != "$plugged" ] || return 0
        plugged=$wanted
        set -f
        # shellcheck disable=SC2086 # words are wanted, and nothing is matched
        load -a -b -q $wanted 2>/dev/null
        set +f
    done
}

# What the image's owner wants loaded in any case.
load_by_name() {
    [ -f "$RP/load" ] || return 0
    while read -r module; do
        [ -z "$module" ] || load "$module" || say "cannot load $module"
    done <"$RP/load"
}

driver_of() {
    basename "$(readlink "$SYS/class/net/$1/device/driver" 2>/dev/null)" 2>/dev/null || echo 'no driver'
}

# The interface that the loader used; where it did not tell, the first with a signal.
find_interface() {
    for path in "$SYS"/class/net/*; do
        [ -e "$path/device" ] || continue
        if [ -n "$RP_MAC" ]; then
            [ "$(tr : - <"$path/address")" = "$RP_MAC" ] || continue
        else
            ip link set dev "${path##*/}" up
            [ "$(cat "$path/carrier" 2>/dev/null)" = 1 ] || continue
        fi
        INTERFACE=${path##*/}
        return 0
    done
    return 1
}

# Network devices that no driver has taken: what to look for when there is no interface.
orphans() {
    for path in "$SYS"/bus/pci/devices/*; do
        case $(cat "$path/class" 2>/dev/null) in
            0x02*) ;;
            *) continue ;;
        esac
        [ -e "$path/driver" ] || printf ' %s:%s' "$(cut -c3- "$path/vendor")" "$(cut -c3- "$path/device")"
    done
}

# seconds since the kernel started
uptime_s() {
    cut -d. -f1 /proc/uptime
}

wait_for_interface() {
    deadline=$(($(uptime_s) + INTERFACE_LIMIT))
    until find_interface; do
        if [ "$(uptime_s)" -ge "$deadline" ]; then
            lost=$(orphans)
            fail "no interface${RP_MAC:+ with MAC $RP_MAC}; network devices without a driver:${lost:- none}"
        fi
        sleep 0.2
        coldplug
    done
    ip link set dev "$INTERFACE" up || fail "$INTERFACE cannot be switched on"
}

wait_for_carrier() {
    deadline=$(($(uptime_s) + CARRIER_LIMIT))
    until [ "$(cat "$SYS/class/net/$INTERFACE/carrier" 2>/dev/null)" = 1 ]; do
        if [ "$(uptime_s)" -ge "$deadline" ]; then
            say "$INTERFACE has no signal on its cable; asking DHCP nevertheless"
            return 0
        fi
        sleep 0.2
    done
}

# Asks until there is a lease. A switch may let nothing through for half a minute, and a server may be restarting.
ask_dhcp() {
    deadline=$(($(uptime_s) + LEASE_LIMIT))
    wait_s=1
    until udhcpc -i "$INTERFACE" -f -n -q -t 4 -T 2 -s "$RP/lease" >"$RUN/udhcpc.log" 2>&1; do
        say "no DHCP server answered on $INTERFACE: $(tail -n 1 "$RUN/udhcpc.log")"
        [ "$(uptime_s)" -lt "$deadline" ] || fail "no DHCP lease on $INTERFACE in $LEASE_LIMIT s"
        pause "$wait_s"
        wait_s=$(longer "$wait_s" "$LONGEST_PAUSE")
    done
    RP_IP=$(cat "$RUN/lease/ip")
    export RP_IP
}

start_network() {
    ip link set dev lo up
    case $RP_BOOTIF in
        ??-??-??-??-??-??-??) RP_MAC=$(echo "${RP_BOOTIF#??-}" | tr A-F a-f) ;;
    esac
    load_by_name
    coldplug
    wait_for_interface
    [ -n "$RP_MAC" ] || RP_MAC=$(tr : - <"$SYS/class/net/$INTERFACE/address")
    wait_for_carrier
    ask_dhcp
}

#!/bin/bash
# Tells the boot server how far this node has come: stage system|worker|worker-ended|worker-kept-back
#
# Needs bash and coreutils only. The initramfs has left whom to tell in boot.env. A report that cannot be delivered is tried a few
# times and then dropped. The worker is started again only when its report is through, so each attempt ends in time.

ATTEMPTS=5
LIMIT=5 # seconds an attempt may take, from the connection to the answer

RP_SERVER='' RP_MAC='' RP_BOOT=''
# shellcheck disable=SC1091 # made by the initramfs
. /run/regex-provision/boot.env 2>/dev/null || exit 0
[ -n "$RP_SERVER" ] && [ -n "$RP_MAC" ] || exit 0

# Text as a field of a form.
form() {
    local text=${1//'%'/%25} LC_ALL=C
    text=${text//[[:cntrl:]]/ }
    text=${text//'&'/%26}
    text=${text//'+'/%2B}
    printf %s "${text// /+}"
}

# One request over bash's own TCP, whose connections have no limit of time. The first line of the answer says whether it was taken.
post() {
    # A length is one of bytes.
    local address=${RP_SERVER#*://} path=/stage/$RP_MAC body=$1 status LC_ALL=C
    address=${address%%/*}
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || return 1
    printf 'POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$path" "$address" "${#body}" "$body" >&3
    read -r status <&3 && [[ $status == HTTP/1.?\ 2* ]]
}

# report STAGE OK PERCENT MESSAGE
report() {
    local body attempt
    body="boot=$(form "$RP_BOOT")&stage=$1&ok=$2&percent=$3&message=$(form "$4")"
    for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
        timeout "$LIMIT" "$BASH" "$0" post "$body" 2>/dev/null && return
        sleep "$attempt"
    done
}

# How much memory is taken, programs and what is kept in it together.
memory() {
    local key value total=0 available=0
    while read -r key value _; do
        case $key in
        MemTotal:) total=$value ;;
        MemAvailable:) available=$value ;;
        esac
    done </proc/meminfo
    printf '%d of %d MiB of memory in use' $(((total - available) / 1024)) $((total / 1024))
}

case ${1:-} in
post)
    # One attempt, which is this script again.
    post "${2:-}"
    exit
    ;;
system)
    report system 1 100 "up for $(cut -d ' ' -f 1 /proc/uptime) s; $(uname -r); $(memory)"
    ;;
worker)
    report worker 1 100 "attached; $(/usr/bin/regex-worker --version 2>/dev/null)"
    ;;
worker-ended)
    # systemd says how it ended. Being told to end is no failure.
    if [ "${SERVICE_RESULT:-success}" != success ]; then
        words=$(journalctl --unit=regex-worker.service --output=cat --lines=3 2>/dev/null | tail -c 600)
        ATTEMPTS=1
        report worker 0 0 "${EXIT_CODE:-ended} ${EXIT_STATUS:-}: $words"
    fi
    ;;
worker-kept-back)
    # What it needs has failed: most often the mount of the data.
    words=''
    while read -r unit _; do
        words+="${words:+; }$unit: $(journalctl --boot --unit="$unit" --output=cat --lines=4 2>/dev/null | tail -c 300)"
    done < <(systemctl list-units --failed --plain --no-legend)
    ATTEMPTS=1
    report worker 0 0 "not started, trying again: ${words:-nothing has failed}"
    ;;
*)
    echo "usage: stage system|worker|worker-ended|worker-kept-back" >&2
    exit 2
    ;;
esac
exit 0

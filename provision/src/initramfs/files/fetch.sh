# Brings a file from the server by its digest. Sourced.
#
# A connection that breaks is taken up where it broke; a server that is gone is asked again with growing pauses; bytes
# that are not those of the digest are thrown away. A file that `fetch` has brought is the right one.

FIRST_PAUSE=${FIRST_PAUSE:-1}   # seconds
IDLE_TRIES=${IDLE_TRIES:-120}   # tries in a row that bring nothing: about an hour
WRONG_TRIES=${WRONG_TRIES:-6}   # times that the bytes are wrong
STALL_LIMIT=${STALL_LIMIT:-20}  # seconds in which not a byte comes

size_of() {
    stat -c %s "$1" 2>/dev/null || echo 0
}

# Percents of $2 that $1 is, without overflow or division by nothing.
percent() {
    if [ "$2" -gt 0 ]; then echo $(($1 * 100 / $2)); else echo 0; fi
}

# Beside a transfer: tells how far it is, and ends it when it stands still.
watch_transfer() { # STAGE FILE SIZE
    watched=$(size_of "$2")
    told=$(percent "$watched" "${3:-0}")
    idle=0
    while sleep 1; do
        now=$(size_of "$2")
        if [ "$now" = "$watched" ]; then
            idle=$((idle + 1))
            if [ $idle -ge "$STALL_LIMIT" ]; then
                say "not a byte in $STALL_LIMIT s"
                kill "$(cat "$2.pid")"
                return
            fi
            continue
        fi
        idle=0
        watched=$now
        [ -n "$3" ] || continue
        share=$(percent "$now" "$3")
        if [ "$share" -ge $((told + 10)) ]; then
            report "$1" 1 "$share" "$now of $3 bytes"
            told=$share
        fi
    done
}

# One try. What is there already is kept.
transfer() { # STAGE URL FILE SIZE
    watch_transfer "$1" "$3" "$4" &
    watcher=$!
    # The shell that writes down its number becomes wget.
    # shellcheck disable=SC2016 # that shell expands these
    sh -c 'echo $$ >"$1.pid"; exec wget -q -c -O "$1" "$2"' - "$3" "$2" 2>"$3.said"
    transfer_status=$?
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
    return $transfer_status
}

# fetch STAGE URL FILE SHA256 [SIZE]
fetch() {
    wrong=0
    idle_tries=0
    wait_s=$FIRST_PAUSE
    rm -f "$3"
    while :; do
        before=$(size_of "$3")
        if transfer "$1" "$2" "$3" "${5:-}"; then ended=yes; else ended=no; fi
        have=$(size_of "$3")
        said=$(tail -n 1 "$3.said")
        # Also at its end is a file that is long enough, whatever came behind it, and one of which the server has no more.
        if [ -n "${5:-}" ] && [ "$have" -ge "$5" ]; then ended=yes; fi
        case $said in
            *' 416 '*) [ "$have" -eq 0 ] || ended=yes ;;
        esac
        if [ $ended = yes ]; then
            digest=$(sha256sum "$3" | cut -d' ' -f1)
            if [ "$digest" = "$4" ]; then
                rm -f "$3.pid" "$3.said"
                return 0
            fi
            wrong=$((wrong + 1))
            rm -f "$3"
            report "$1" 0 0 "refused: $2 has SHA-256 $digest ($have bytes), wanted is $4; try $wrong of $WRONG_TRIES"
            if [ $wrong -ge "$WRONG_TRIES" ]; then
                fail "refused $WRONG_TRIES times: $2 has SHA-256 $digest ($have bytes), wanted is $4"
            fi
        elif [ "$have" -gt "$before" ]; then
            # Something came: the server is there, so begin again with short pauses.
            idle_tries=0
            wait_s=$FIRST_PAUSE
            report "$1" 1 "$(percent "$have" "${5:-0}")" "cut off at $have bytes, going on: ${said:-no more came}"
        else
            idle_tries=$((idle_tries + 1))
            [ "$idle_tries" -lt "$IDLE_TRIES" ] || fail "cannot fetch $2 in $IDLE_TRIES tries: ${said:-no answer}"
            report "$1" 1 "$(percent "$have" "${5:-0}")" "cannot fetch $2, trying again: ${said:-no answer}"
        fi
        pause "$wait_s"
        wait_s=$(longer "$wait_s" "$LONGEST_PAUSE")
    done
}

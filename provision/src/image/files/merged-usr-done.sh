#!/bin/sh
# The second half of what merged-usr.sh may have begun; else it does nothing.
set -eu
theirs=/usr/share/mmdebstrap/hooks/maybe-merged-usr/essential00.sh
# shellcheck disable=SC2016 # dpkg-query reads it
status=$(dpkg-query --root="$1" -f '${db:Status-Status}' --show usr-is-merged 2>/dev/null || true)
[ "$status" != installed ] || exec "$theirs" "$1"

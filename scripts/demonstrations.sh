#!/usr/bin/env bash
# Runs the four demonstrations of docs/replicas.md for real, with the scripts a person would use, and checks
# what they print: the stale read (eventual), the fresh read (sequential), the old read at the second
# replica (sequential), and the performance comparison. Takes free ports and a temporary folder.
#
# usage: scripts/demonstrations.sh
#
# example: WRITE_DELAY=2s scripts/demonstrations.sh     prints PASS lines; exit 1 where one is FAIL
#
# environment: WRITE_DELAY  how long a write is delayed, in ms or s; 5s by default, 1s at least
#              PAIRS        how many pairs of writes and reads the comparison makes; 100 by default
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments"
delay=${WRITE_DELAY:-5s}
case $delay in
*ms) delay_ms=${delay%ms} ;;
*s) delay_ms=${delay%s}000 ;;
*) delay_ms= ;;
esac
[[ $delay_ms =~ ^[1-9][0-9]{3,5}$ ]] ||
    usage_error "expected a WRITE_DELAY such as 5s or 1500ms, 1s at least, found '$delay'"
pairs=${PAIRS:-100}

# start SCRIPT MODE: three replicas on free ports with empty stores.
start() {
    rm -rf "$SCRATCH/replicas"
    start_servers "$SCRATCH/servers.out" env WRITE_DELAY="$delay" DATA="$SCRATCH/replicas" \
        CLIENT_PORT=0 BROADCAST_PORT=0 "$ROOT/scripts/$1" "$2"
    export CLIENT_PORT=${PORTS[0]}
    local port
    for port in "${PORTS[@]}"; do
        check "  x is 0 at first on port $port" 0 "$(value_at "$port")"
    done
}

stop() {
    local started status=0
    started=$(now_ms)
    stop_servers || status=$?
    check "  the servers stop cleanly on SIGTERM" 0 "$status"
    check_that "  within a second" test $(($(now_ms) - started)) -le 1500
}

# value_at PORT: what client-read.sh prints as the value of x.
value_at() {
    "$ROOT/scripts/client-read.sh" x "$1" | sed -n 2p
}

shows() {
    [[ $(value_at "$1") == "$2" ]]
}

# stored I: the value of x in replica I's storage.txt; the last record of a key holds.
stored() {
    awk -F '\t' '$1 == "x" { value = $2 } END { print value }' "$SCRATCH/replicas/$1/storage.txt"
}

all_stored() {
    [[ $(stored 0) == "$1" && $(stored 1) == "$1" && $(stored 2) == "$1" ]]
}

# show FILE: a script's output, set apart.
show() {
    sed 's/^/      | /' "$1"
}

eventual_reads_stale() {
    echo "1. eventual: a client reads its own write too early (write delay $delay)"
    start server-stale.sh eventual
    local started out=$SCRATCH/client.out
    started=$(now_ms)
    "$ROOT/scripts/client-stale.sh" >"$out" || true
    show "$out"
    check_that "  the answer does not wait for the delay" test $(($(now_ms) - started)) -lt "$delay_ms"
    check "  set x=42 is answered" STORED "$(sed -n 1p "$out")"
    check "  x reads as the old value" 0 "$(sed -n 3p "$out")"
    wait_until $((delay_ms / 1000 + 10)) all_stored 42 || true
    check "  after the delay every storage.txt has 42" "42 42 42" "$(stored 0) $(stored 1) $(stored 2)"
    stop
}

sequential_reads_fresh() {
    echo "2. sequential: the same client waits and reads its own write"
    start server-stale.sh sequential
    local started out=$SCRATCH/client.out
    started=$(now_ms)
    "$ROOT/scripts/client-stale.sh" >"$out" || true
    show "$out"
    check_that "  the answer waits for the delay" test $(($(now_ms) - started)) -ge "$delay_ms"
    check "  set x=42 is answered" STORED "$(sed -n 1p "$out")"
    check "  x reads as the new value" 42 "$(sed -n 3p "$out")"
    check "  client-xto0.sh resets it" STORED "$("$ROOT/scripts/client-xto0.sh")"
    wait_until $((delay_ms / 1000 + 10)) shows "${PORTS[1]}" 0 || true
}

# Goes on with the servers of the demonstration before.
sequential_reads_old_elsewhere() {
    echo "3. sequential: another client reads at the second replica before the write is applied there"
    local out=$SCRATCH/client.out client
    "$ROOT/scripts/client-stale.sh" >"$out" &
    client=$!
    sleep 0.5 # as a person would: the write is under way, and has not been applied
    check "  the second replica still shows the old value" 0 "$(value_at "${PORTS[1]}")"
    check_that "  while the first client still waits" kill -0 "$client"
    wait "$client" || true
    show "$out"
    check "  the first client then reads the new value" 42 "$(sed -n 3p "$out")"
    wait_until $((delay_ms / 1000 + 10)) shows "${PORTS[1]}" 42 || true
    check "  and so does the second replica in the end" 42 "$(value_at "${PORTS[1]}")"
    stop
}

# compare MODE: one run of performance.sh; its output stays in SCRATCH/performance-MODE.out.
compare() {
    start server-normal.sh "$1"
    local out=$SCRATCH/performance-$1.out status=0
    "$ROOT/scripts/performance.sh" "$pairs" >"$out" 2>&1 || status=$?
    show "$out"
    check "  performance.sh ends well" 0 "$status"
    check_that "  it counts the reads that were current" current "$out" '[0-9]+'
    stop
}

# current FILE COUNT: whether the output says that COUNT of the reads were current.
current() {
    grep -Eq "(^|[^0-9])$2 ?(/|of) ?$pairs([^0-9]|\$)" "$1"
}

performance() {
    echo "4. performance: $pairs pairs of a write and a read, in both modes"
    compare eventual
    compare sequential
    check_that "  in sequential mode every read was current" \
        current "$SCRATCH/performance-sequential.out" "$pairs"
}

build_if_needed servers
build_if_needed lab
make_scratch
eventual_reads_stale
sequential_reads_fresh
sequential_reads_old_elsewhere
performance
if ((FAILURES > 0)); then
    echo "$FAILURES checks failed"
    exit 1
fi
echo "all demonstrations came out as docs/replicas.md says"

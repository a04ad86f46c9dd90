#!/usr/bin/env bash
# Measures what the lab promises about speed, each figure against a floor measured in the same run: an echo
# over loopback, and a bare chain client -> R0 -> {R1, R2} -> R0 -> client. Then start-up, memory and idle
# connections. Three replicas in one process, release build, free ports, a temporary folder.
#
# usage: scripts/bench.sh
#
# Prints a table of targets and measured figures and writes it to results/speed.csv. A missed target is said,
# not punished: the exit status is 0. Let the machine rest meanwhile; it takes about three minutes, 4 GB of
# memory and 3 GB in the temporary folder (TMPDIR).
#
# example: OPS=20000 scripts/bench.sh     a quick look
#
# environment: OPS  operations of each throughput figure; 200000 by default
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments"
ops=${OPS:-200000}
[[ $ops =~ ^[1-9][0-9]{2,9}$ ]] || usage_error "expected OPS from 100 to 9999999999, found '$ops'"
command -v python3 >/dev/null || die "python3 is needed to read summary.json and is not installed"

# With one client and more than one processor, the scheduler decides by chance whether the two ends of an
# exchange share a processor, which makes a factor of ten: 5 or 50 microseconds an echo. So that work and
# floors are measured alike, everything about one client runs on one processor, where that can be had.
PIN=()
ON_ONE_PROCESSOR=()
if taskset -c 0 true 2>/dev/null; then
    ON_ONE_PROCESSOR=(taskset -c 0)
fi

IDLE=5000                # connections
KEYS=1000000             # of the memory figure
STARTUP_RECORDS=1050000  # of 1000 bytes each: a storage.txt of more than 1 GiB
CSV=$ROOT/results/speed.csv

# start MODE [ARGUMENT OF servers]...: replicas on free ports with empty stores.
start() {
    rm -rf "$SCRATCH/replicas"
    start_again "$@"
}

# start_again MODE [ARGUMENT OF servers]...: the same with the stores as they are.
start_again() {
    local mode=$1
    shift
    start_servers "$SCRATCH/servers.out" "${PIN[@]}" "$PROGRAMS/servers" --consistency="$mode" \
        --client-port 0 --broadcast-port 0 --data "$SCRATCH/replicas" "$@"
}

# row WORK OPERATOR TARGET VALUE UNIT: one line of the table, and of the file.
row() {
    local verdict
    verdict=$(awk -v value="$4" -v target="$3" -v operator="$2" 'BEGIN {
        if (value !~ /^[0-9.]+$/) print "unknown"
        else print ((operator == "<=") ? value + 0 <= target + 0 : value + 0 >= target + 0) ? "ok" : "miss" }')
    printf '%-48s %2s %7s  %10s  %-16s %s\n' "$1" "$2" "$3" "$4" "$5" "$verdict"
    printf '"%s",%s,%s,%s,"%s",%s\n' "$1" "$2" "$3" "$4" "$5" "$verdict" >>"$CSV"
}

# bench [ARGUMENT OF lab bench]...: one run against the first replica; SUMMARY is its summary.json.
bench() {
    rm -rf "$SCRATCH/run"
    "${PIN[@]}" "$PROGRAMS/lab" bench --to "127.0.0.1:${PORTS[0]}" --floor --rounds 9 \
        --out "$SCRATCH/run" "$@" \
        >"$SCRATCH/bench.out" 2>&1 || {
        cat "$SCRATCH/bench.out" >&2
        die "lab bench $* failed"
    }
    SUMMARY=$(find "$SCRATCH/run" -name summary.json -print -quit)
}

# field PATH: a number of SUMMARY, e.g. `floors.rounds`; `unknown` where there is none.
field() {
    python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
try:
    for part in sys.argv[2].split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    print(f"{value:.{2 if value < 100 else 0}f}" if isinstance(value, float) else value)
except (KeyError, IndexError, TypeError, ValueError):
    print("unknown")' "$SUMMARY" "$1"
}

# Figures of summary.json: medians over the rounds, in which work and floors take turns.
READ_P50_TO_ECHO=floors.figures.read_p50_us.to_echo
WRITE_P50_TO_CHAIN=floors.figures.write_p50_us.to_chain
THROUGHPUT_TO_ECHO=floors.figures.ops_per_second.to_echo
THROUGHPUT=floors.figures.ops_per_second.work

one_client() {
    bench --clients 1 --reads 1 --ops "$ops"
    row "get, 1 client, p50" "<=" 1.15 "$(field $READ_P50_TO_ECHO)" "x echo"
    bench --clients 1 --reads 0 --ops $((ops / 4))
    row "sequential set, 1 client, p50" "<=" 1.4 "$(field $WRITE_P50_TO_CHAIN)" "x chain"
}

fifty_clients() {
    bench --clients 50 --reads 1 --ops "$ops"
    row "get, 50 clients" ">=" 0.9 "$(field $THROUGHPUT_TO_ECHO)" "x echo"
    bench --clients 50 --reads 0 --ops "$ops"
    row "sequential set, 50 clients" ">=" 0.5 "$(field $THROUGHPUT_TO_ECHO)" "x echo"
}

pipelined() {
    bench --clients 50 --pipeline 16 --reads 1 --ops $((ops * 5))
    row "get, 50 clients, pipeline 16" ">=" 0.6 "$(field $THROUGHPUT_TO_ECHO)" "x echo"
    bench --clients 50 --pipeline 16 --reads 0 --ops $((ops * 5))
    row "sequential set, 50 clients, pipeline 16" ">=" 200000 "$(field $THROUGHPUT)" "operations/s"
}

eventual_sets() {
    bench --clients 50 --reads 0 --ops "$ops"
    row "eventual set, 50 clients" ">=" 0.5 "$(field $THROUGHPUT_TO_ECHO)" "x echo"
}

# fill COUNT BYTES: COUNT keys of 16 bytes with values of BYTES bytes, pipelined over one connection.
fill() {
    local stored
    connect "${PORTS[0]}"
    awk -v count="$1" -v bytes="$2" 'BEGIN {
        value = sprintf("%" bytes "s", ""); gsub(/ /, "v", value)
        for (i = 0; i < count; i++) printf "set key-%012d 0 0 %d\r\n%s\r\n", i, bytes, value
        printf "quit\r\n" }' >&"$SERVER" &
    stored=$(grep -c '^STORED' <&"$SERVER") || true
    wait $!
    exec {SERVER}>&-
    [[ $stored == "$1" ]] || die "$stored of $1 sets were stored"
}

# resident: the servers' memory in MB (10^6 bytes).
resident() {
    awk '/^VmRSS:/ { printf "%.0f", $2 * 1024 / 1e6 }' "/proc/$SERVERS_PID/status" 2>/dev/null || echo unknown
}

memory() {
    fill "$KEYS" 32
    local all
    all=$(resident)
    [[ $all == unknown ]] || all=$((all / 3))
    row "memory for $KEYS keys" "<=" 200 "$all" "MB a replica"
}

# Connections that say something once and then stay open.
idle_connections() {
    local before after i answered=0 sockets=()
    if ! ulimit -S -n $((IDLE + 1000)) 2>/dev/null; then
        row "$IDLE idle connections, memory" "<=" 200 unknown "MB (ulimit -n)"
        return
    fi
    before=$(resident)
    for ((i = 0; i < IDLE; i++)); do
        connect "${PORTS[0]}"
        sockets+=("$SERVER")
        send $'version\r\n'
    done
    for SERVER in "${sockets[@]}"; do
        read_line
        [[ $LINE != VERSION* ]] || answered=$((answered + 1))
    done
    after=$(resident)
    row "$IDLE idle connections, served" ">=" "$IDLE" "$answered" "connections"
    row "$IDLE idle connections, memory" "<=" 200 "$((after - before))" "MB"
    for SERVER in "${sockets[@]}"; do exec {SERVER}>&-; done
}

start_up() {
    local started millis bytes
    start sequential --replicas 1 --sync os
    fill "$STARTUP_RECORDS" 1000
    stop_servers
    bytes=$(stat -c %s "$SCRATCH/replicas/0/storage.txt")
    started=$(now_ms)
    start_again sequential --replicas 1 --sync os
    millis=$(($(now_ms) - started))
    row "start-up from a storage.txt of $((bytes / 1048576)) MiB" ">=" 200 "$((bytes / 1000 / millis))" "MB/s"
    stop_servers
}

build_if_needed servers
build_if_needed lab
make_scratch
mkdir -p "$(dirname "$CSV")"
echo 'work,operator,target,measured,unit,verdict' >"$CSV"
printf '%-48s %2s %7s  %10s\n' work '' target measured
PIN=("${ON_ONE_PROCESSOR[@]}")
start sequential
one_client
stop_servers
PIN=()
start sequential
fifty_clients
pipelined
stop_servers
start eventual
eventual_sets
stop_servers
start sequential
idle_connections
stop_servers
start sequential
memory
stop_servers
start_up
echo "written to ${CSV#"$PWD/"}"

#!/usr/bin/env bash
# Points the usual clients at a replica in sequential mode: netcat, memccapable, redis-cli, redis-benchmark,
# redis-py and pymemcache. A client that is not installed is skipped and said so.
#
# usage: scripts/conformance.sh
#
# example: apt-get install redis-tools libmemcached-tools netcat-openbsd && scripts/conformance.sh
#
# The Python clients are installed with pip into target/conformance-venv.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments"

# has PROGRAM: whether it is installed; says so where it is not.
has() {
    command -v "$1" >/dev/null || {
        echo "SKIP  $1 is not installed"
        return 1
    }
}

# run NAME COMMAND...: PASS where COMMAND succeeds and reports no error; else its output is shown.
run() {
    local name=$1 out=$SCRATCH/output
    shift
    local status=0
    timeout 120 "$@" >"$out" 2>&1 || status=$?
    # redis-benchmark stops at an error and still exits 0.
    if grep -q 'Error\|ERR' "$out"; then status="$status and an error"; fi
    [[ $status == 0 ]] || tail -n 40 "$out" | tr '\r' '\n' | sed 's/^/      | /'
    check "$name" "exit 0" "exit $status"
}

# A person who types: lines that end with LF alone, and the short form of set.
netcat() {
    has nc || return 0
    local found
    found=$(printf 'set nc 5\nhello\nget nc\nset nc 0 0 2\r\nhi\r\nget nc\r\nquit\n' |
        timeout 20 nc 127.0.0.1 "$PORT" | tr -d '\r' | tr '\n' ' ')
    check "nc, bare LF and short set" \
        "STORED VALUE nc 0 5 hello END STORED VALUE nc 0 2 hi END " "$found"
}

memcached_suite() {
    has memccapable || return 0
    run "memccapable -a, every ASCII test" memccapable -h 127.0.0.1 -p "$PORT" -a
}

# redis EXPECTED COMMAND...: one command of redis-cli, its lines joined with spaces.
redis() {
    local expected=$1 found
    shift
    found=$(timeout 20 redis-cli -p "$PORT" --raw "$@" 2>&1 | tr '\n' ' ')
    check "redis-cli $*" "$expected" "${found% }"
}

redis_commands() {
    has redis-cli || return 0
    redis OK FLUSHALL
    redis PONG PING
    redis "hello world" ECHO "hello world"
    redis OK SET k v
    redis v GET k
    redis "" GET missing
    redis 1 EXISTS k
    redis 3 APPEND k 12
    redis 3 STRLEN k
    redis OK MSET a 1 b 2
    redis "1 2 v12" MGET a b k
    redis 2 INCR a
    redis 1 DECR a
    redis 3 DBSIZE
    redis 2 DEL a b missing
    redis k KEYS '*'
    redis OK SELECT 0
    check_that "redis-cli INFO names a version" grep -q redis_version: \
        <(timeout 20 redis-cli -p "$PORT" INFO 2>&1)
    redis OK FLUSHALL
    redis 0 DBSIZE
}

redis_load() {
    has redis-benchmark || return 0
    # `ping` also sends an inline PING, without the `*` of RESP.
    local tests=ping,set,get,incr,mset
    run "redis-benchmark -t $tests" \
        redis-benchmark -p "$PORT" -q -n 5000 -c 20 -t "$tests"
    run "redis-benchmark, pipelined" \
        redis-benchmark -p "$PORT" -q -n 20000 -c 20 -P 16 -t "$tests"
}

python_clients() {
    has python3 || return 0
    local venv=$ROOT/target/conformance-venv
    local imports='import redis, pymemcache'
    if ! "$venv/bin/python" -c "$imports" 2>/dev/null; then
        python3 -m venv "$venv" >/dev/null 2>&1 || true
        "$venv/bin/pip" install --quiet redis pymemcache >/dev/null 2>&1 || true
    fi
    if ! "$venv/bin/python" -c "$imports" 2>/dev/null; then
        echo "SKIP  redis-py and pymemcache could not be installed with pip"
        return 0
    fi
    run "redis-py" "$venv/bin/python" "$ROOT/scripts/conformance.py" redis "$PORT"
    run "pymemcache" "$venv/bin/python" "$ROOT/scripts/conformance.py" pymemcache "$PORT"
}

build_if_needed servers
make_scratch
start_servers "$SCRATCH/servers.out" env DATA="$SCRATCH/replicas" CLIENT_PORT=0 BROADCAST_PORT=0 \
    "$ROOT/scripts/server-normal.sh" sequential
PORT=${PORTS[0]}

netcat
memcached_suite
redis_commands
redis_load
python_clients

status=0
stop_servers || status=$?
check "the servers end well after all this" 0 "$status"
if ((FAILURES > 0)); then
    echo "$FAILURES checks failed; the servers said:"
    tail -n 20 "$SCRATCH/servers.out.err"
    exit 1
fi

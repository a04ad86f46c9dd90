# Shared by the scripts beside it, which source it. Not a program.
#
# It expects bash 5 and the usual small tools. Connections are bash's own /dev/tcp.

# Bytes, not characters: the length that the protocol announces counts bytes.
LC_ALL=C

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROGRAMS=${CARGO_TARGET_DIR:-$ROOT/target}/release

# The ports that the scripts speak to where CLIENT_PORT does not say otherwise.
FIRST_PORT=${CLIENT_PORT:-9889}

# die MESSAGE: one line on stderr, exit 1.
die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# usage_error EXPECTED: one line that says what was expected, exit 64.
usage_error() {
    echo "$(basename "$0"): $1; --help shows an example" >&2
    exit 64
}

# help_if_asked "$@": prints the script's header comment where the first argument asks for it.
help_if_asked() {
    case ${1:-} in
    -h | --help)
        awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
    esac
}

# require_port PORT
require_port() {
    [[ $1 =~ ^[0-9]{1,5}$ ]] && ((10#$1 >= 1 && 10#$1 <= 65535)) ||
        usage_error "expected a port from 1 to 65535, found '$1'"
}

# require_key KEY: what memcached takes as a key; anything else would break its line.
require_key() {
    [[ -n $1 && ! $1 =~ [[:space:][:cntrl:]] ]] && ((${#1} <= 250)) ||
        usage_error "expected a key of 1 to 250 bytes without spaces, found '$1'"
}

# build_if_needed PROGRAM: a release build where the program is missing or older than its sources.
build_if_needed() {
    local program=$PROGRAMS/$1
    local inputs=("$ROOT/src" "$ROOT/Cargo.toml" "$ROOT/Cargo.lock")
    if [[ -x $program && -z $(find "${inputs[@]}" -newer "$program" -print -quit) ]]; then
        return
    fi
    command -v cargo >/dev/null ||
        die "$1 must be built and there is no cargo; install Rust from https://rustup.rs"
    echo "building $1 (release) ..." >&2
    (cd "$ROOT" && cargo build --release --quiet --bin "$1")
    touch "$program" # cargo leaves it alone where a newer source changes nothing in it
}

# is_given OPTION "$@": whether the arguments hold OPTION already.
is_given() {
    local option=$1 argument
    shift
    for argument in "$@"; do
        [[ $argument == "$option" || $argument == "$option="* ]] && return 0
    done
    return 1
}

# run_servers MODE [ARGUMENT]...: becomes the servers program with 3 replicas, x = 0, in the repository root.
run_servers() {
    local mode=$1
    shift
    local arguments=(--consistency="$mode" --init x=0)
    is_given --replicas "$@" || is_given --cluster "$@" || arguments+=(--replicas 3)
    [[ -z ${CLIENT_PORT:-} ]] || arguments+=(--client-port "$CLIENT_PORT")
    [[ -z ${BROADCAST_PORT:-} ]] || arguments+=(--broadcast-port "$BROADCAST_PORT")
    case ${DATA:-} in
    '') ;;
    /*) arguments+=(--data "$DATA") ;;
    *) arguments+=(--data "$PWD/$DATA") ;;
    esac
    build_if_needed servers
    cd "$ROOT"
    exec "$PROGRAMS/servers" "${arguments[@]}" "$@"
}

# connect PORT: opens the connection that set_value and get_value use.
connect() {
    trap '' PIPE # a closed connection is an error to report, not a silent end
    { exec {SERVER}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null ||
        die "nothing listens on 127.0.0.1:$1; start the servers with scripts/server-normal.sh MODE"
}

# disconnect: says goodbye; a server that is gone already needs none.
disconnect() {
    printf 'quit\r\n' 1>&"$SERVER" 2>/dev/null || true
}

# read_line: one line of the server's reply, without its line end, into LINE.
read_line() {
    IFS= read -r LINE <&"$SERVER" || die "the server closed the connection before it replied"
    LINE=${LINE%$'\r'}
}

# send TEXT
send() {
    printf '%s' "$1" 1>&"$SERVER" 2>/dev/null || die "the server closed the connection"
}

# set_value KEY VALUE: prints the reply; status 1 where it is an error.
set_value() {
    send "set $1 0 0 ${#2}"$'\r\n'"$2"$'\r\n'
    read_line
    printf '%s\n' "$LINE"
    [[ $LINE == STORED ]]
}

# get_value KEY: prints the reply as it comes; status 1 where it is an error.
get_value() {
    send "get $1"$'\r\n'
    while read_line; do
        printf '%s\n' "$LINE"
        case $LINE in
        'VALUE '*)
            head -c "${LINE##* }" <&"$SERVER"
            head -c 2 <&"$SERVER" >/dev/null
            echo
            ;;
        END) return 0 ;;
        *) return 1 ;;
        esac
    done
}

# set_then_get PORT KEY VALUE: the session of the staleness demonstrations.
set_then_get() {
    local status=0
    connect "$1"
    set_value "$2" "$3" || status=1
    get_value "$2" || status=1
    disconnect
    return "$status"
}

# --- For the scripts that start servers of their own: demonstrations, conformance, bench. ---

# start_servers LOG COMMAND...: runs COMMAND, which becomes `servers`, and waits until it is ready. Sets
# SERVERS_PID and, from the lines it prints, the client ports in PORTS.
start_servers() {
    local log=$1
    shift
    : >"$log" # here, not in the child: the lines of an earlier start must not be taken for its own
    "$@" >>"$log" 2>"$log.err" &
    SERVERS_PID=$!
    wait_until 60 is_ready_or_gone "$log" || die "the servers were not ready within 60 s; see $log.err"
    grep -qx ready "$log" || {
        cat "$log.err" >&2
        die "the servers ended before they were ready: $*"
    }
    mapfile -t PORTS < <(sed -n 's/^replica [0-9]*: clients [^ ,]*:\([0-9]*\),.*/\1/p' "$log")
    [[ ${#PORTS[@]} -gt 0 ]] || die "found no 'replica I: clients HOST:PORT, ...' line in $log"
}

is_ready_or_gone() {
    grep -qx ready "$1" || ! kill -0 "$SERVERS_PID" 2>/dev/null
}

# stop_servers: SIGTERM to what start_servers started; its exit status. SIGKILL after 10 s.
stop_servers() {
    local pid=${SERVERS_PID:-}
    SERVERS_PID=
    [[ -n $pid ]] || return 0
    kill "$pid" 2>/dev/null || true
    wait_until 10 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid"
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

# wait_until SECONDS COMMAND...: asks every 20 ms; status 1 where COMMAND did not succeed in time.
wait_until() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < deadline)) || return 1
        sleep 0.02
    done
}

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# make_scratch: a temporary folder in SCRATCH; it and the servers go when the script ends, however it ends.
make_scratch() {
    SCRATCH=$(mktemp -d)
    trap 'stop_servers || true; rm -rf "$SCRATCH"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# The outcome of checks: one line each, and a count of failures.
FAILURES=0

# check NAME EXPECTED FOUND
check() {
    if [[ $3 == "$2" ]]; then
        echo "PASS  $1"
    else
        echo "FAIL  $1: expected '$2', found '$3'"
        FAILURES=$((FAILURES + 1))
    fi
}

# check_that NAME COMMAND...: PASS where COMMAND succeeds.
check_that() {
    local name=$1
    shift
    if "$@"; then check "$name" yes yes; else check "$name" yes no; fi
}

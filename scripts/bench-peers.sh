#!/usr/bin/env bash
# Measures our replicas and our two-phase commit store beside etcd, ZooKeeper, redis and memcached, as Debian
# packages them: the same work on the same machine in rounds that take turns, everything on loopback, all data in
# memory (tmpfs). Prints ratios to ours; a ratio is the other's figure over ours.
#
# usage: scripts/bench-peers.sh [--only LIST] [--baseline SUBJECT] [--clients LIST] [--rounds N] [--ops N]
#                               [--keys N] [--value-size BYTES] [--spread] [--out DIR]
#
#   --only LIST         of: linearizable, sequential, eventual (our replicas), kvstore2pc (a coordinator and three
#                       participants), etcd, zookeeper, redis (with two replicas), memcached; all by default
#   --baseline SUBJECT  what ratios are to; by default the first of ours that runs, in the order above
#   --clients LIST      how many clients at a time, each in a closed loop; 1,50 by default
#   --rounds N          5 by default; figures are medians over them, and a first round is not counted
#   --ops N             operations of a run, 40000 by default; with one client it is a quarter of them
#   --keys N            1000 by default         --value-size BYTES  32 by default
#   --spread            spreads clients over all nodes; by default they speak to the one that leads
#   --out DIR           the folder for peers.csv, runs.csv and summary.json, instead of results/peers-N
#
# It installs nothing: what is missing is skipped, and the package that has it is named. It stops all that it
# started. All subjects run all the time, so let the machine rest meanwhile; it takes about ten minutes.
#
# example: apt-get install --no-install-recommends etcd-server redis-server memcached && scripts/bench-peers.sh
#          scripts/bench-peers.sh --only linearizable,etcd --rounds 1 --ops 4000     a quick look
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

SUBJECTS=(linearizable sequential eventual kvstore2pc etcd zookeeper redis memcached)
OURS=(linearizable sequential kvstore2pc eventual) # the first that runs is the default baseline
REPORT=$ROOT/scripts/peers/report.py
JARS=/usr/share/java

# What a subject promises, and with what kind of durability it ran. A ratio compares promises too.
declare -A PROMISE=(
    [linearizable]="every read is current; a majority has a write; --sync os"
    [sequential]="one order of writes, a read may be old; all have a write; --sync os"
    [eventual]="copies follow later; --sync os"
    [kvstore2pc]="two-phase commit to all participants; in memory"
    [etcd]="every read is current; a majority has a write; through the HTTP gateway"
    [zookeeper]="one order of writes, a read may be old; a majority has a write; forceSync=no"
    [redis]="two copies follow later; no file"
    [memcached]="one server, no copies"
)
declare -A PROTOCOL=([kvstore2pc]=simple-resp [etcd]=etcd [redis]=resp [memcached]=memcached
    [linearizable]=memcached [sequential]=memcached [eventual]=memcached)

declare -A TO=()      # by subject: the addresses for clients
declare -A PIDS=()    # by subject: what was started for it
declare -A SKIPPED=() # by subject: why it does not take part
declare -A VERSION=() # by subject
REASON=               # why a start failed
CHILD=                # the process that is waited for

# --- Options ---

only=$(IFS=,; echo "${SUBJECTS[*]}")
baseline='' clients=1,50 rounds=5 ops=40000 keys=1000 value_size=32 spread='' out=''

# number OPTION VALUE MOST
number() {
    [[ $2 =~ ^[1-9][0-9]{0,9}$ ]] && (($2 <= $3)) ||
        usage_error "expected a number from 1 to $3 after $1, found '$2'"
}

# is_subject NAME
is_subject() {
    local subject
    for subject in "${SUBJECTS[@]}"; do [[ $subject != "$1" ]] || return 0; done
    return 1
}

while (($# > 0)); do
    option=${1%%=*}
    case $1 in
    --spread) spread=yes && shift && continue ;;
    --*=*) value=${1#*=} && shift ;;
    --*) (($# > 1)) || usage_error "expected an option with its value, found '$1'"
        value=$2 && shift 2 ;;
    *) usage_error "expected options only, found '$1'" ;;
    esac
    case $option in
    --only) only=$value ;;
    --baseline) baseline=$value ;;
    --clients) clients=$value ;;
    --rounds) number "$option" "$value" 1000 && rounds=$value ;;
    --ops) number "$option" "$value" 1000000000 && ops=$value ;;
    --keys) number "$option" "$value" 1000000 && keys=$value ;;
    --value-size) number "$option" "$value" 1000000 && value_size=$value ;;
    --out) [[ -n $value ]] || usage_error "expected a folder after --out"
        out=$value ;;
    *) usage_error "expected an option of this script, found '$option'" ;;
    esac
done
IFS=, read -ra chosen <<<"$only"
((${#chosen[@]} > 0)) || usage_error "expected at least one subject after --only"
for name in "${chosen[@]}" ${baseline:+"$baseline"}; do
    is_subject "$name" || usage_error "expected subjects among $(IFS=,; echo "${SUBJECTS[*]}"), found '$name'"
done
[[ -z $baseline || ",$only," == *",$baseline,"* ]] || usage_error "expected a --baseline that is in --only, found '$baseline'"
IFS=, read -ra client_counts <<<"$clients"
((${#client_counts[@]} > 0)) || usage_error "expected numbers of clients after --clients"
for count in "${client_counts[@]}"; do number --clients "$count" 10000; done
command -v python3 >/dev/null || die "python3 is needed to read summary.json and is not installed (Debian: python3)"

# --- Processes ---

# launch SUBJECT COMMAND...: starts one process of a subject; what it prints goes to SCRATCH/SUBJECT/N.log.
launch() {
    local subject=$1 own
    shift
    read -ra own <<<"${PIDS[$subject]:-}"
    "$@" >"$SCRATCH/$subject/${#own[@]}.log" 2>&1 </dev/null &
    PIDS[$subject]+=" $!"
}

# stop_subject SUBJECT: SIGTERM to its processes, SIGKILL after 2 s: their data is thrown away.
stop_subject() {
    local pid own
    read -ra own <<<"${PIDS[$1]:-}"
    unset "PIDS[$1]"
    for pid in "${own[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${own[@]}"; do
        wait_until 2 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

stop_all() {
    trap '' INT TERM # the stopping is not interrupted half-way
    local subject
    if [[ -n $CHILD ]]; then
        kill "$CHILD" 2>/dev/null || true
        wait "$CHILD" 2>/dev/null || true
    fi
    # All at once first: a node that is alone waits for its peers before it ends.
    local pid
    # shellcheck disable=SC2048  # each holds several, and none holds a space
    for pid in ${PIDS[*]}; do kill "$pid" 2>/dev/null || true; done
    for subject in "${!PIDS[@]}"; do stop_subject "$subject"; done
    rm -rf "$SCRATCH"
    rmdir "$out" 2>/dev/null || true # where nothing was measured
}

# run_child LOG COMMAND...: its exit status. In the background, so that a signal to this script is heard at once.
run_child() {
    local log=$1 status=0
    shift
    "$@" >"$log" 2>&1 </dev/null &
    CHILD=$!
    wait "$CHILD" || status=$?
    CHILD=
    return "$status"
}

# all_live SUBJECT
all_live() {
    local pid
    for pid in ${PIDS[$1]:-}; do ! is_gone "$pid" || return 1; done
}

# last_line FILE...: the last that was said in them, with its first 160 characters.
last_line() {
    local line
    # Not the lines of a Java stack.
    line=$(cat "$@" 2>/dev/null | grep -v '^[[:space:]]*$\|^[[:space:]]*at ' | tail -n 1) || true
    echo "${line:0:160}"
}

# await SUBJECT SECONDS COMMAND...: until COMMAND succeeds; status 1 and REASON where a process ends before, or in vain.
await() {
    local subject=$1 seconds=$2
    shift 2
    wait_until "$seconds" ends_or "$subject" "$@" || {
        REASON="waited $seconds s for ${1//_/ }: $(last_line "$SCRATCH/$subject"/*.log)"
        return 1
    }
    all_live "$subject" || {
        REASON="a process of it ended: $(last_line "$SCRATCH/$subject"/*.log)"
        return 1
    }
}

# ends_or SUBJECT COMMAND...
ends_or() {
    all_live "$1" || return 0
    "${@:2}"
}

# says FILE TEXT
says() {
    grep -q -- "$2" "$1" 2>/dev/null
}

# free_ports COUNT: sets PORTS to ports on which nothing listens, below those that the system gives to others.
free_ports() {
    mapfile -t PORTS < <(python3 "$REPORT" ports "$1")
    [[ ${#PORTS[@]} == "$1" ]] || die "found no $1 free ports"
}

# addresses PORT...: as HOST:PORT,...
addresses() {
    local text
    printf -v text ',127.0.0.1:%s' "$@"
    echo "${text:1}"
}

# takes_writes SUBJECT: whether one write of the load generator succeeds at each of its addresses.
takes_writes() {
    local address
    for address in ${TO[$1]//,/ }; do
        run_child "$SCRATCH/probe.log" "$PROGRAMS/lab" bench --to "$address" --protocol "${PROTOCOL[$1]}" \
            --ops 1 --reads 0 --warmup 0 --timeout 2s --out "$SCRATCH/probe" || return 1
    done
}

# lead SUBJECT ADDRESS: clients speak to the node that leads, unless they are spread over all.
lead() {
    [[ -n $spread ]] || TO[$1]=$2
}

# needs PROGRAM PACKAGE
needs() {
    command -v "$1" >/dev/null || {
        REASON="$1 is not installed (Debian: apt-get install $2)"
        return 1
    }
}

# --- Subjects: start_NAME starts one and sets its TO; status 1 and REASON where it cannot. ---

# start_replicas MODE: three of our replicas, a process each, as the others' nodes are.
start_replicas() {
    local mode=$1 i leader
    free_ports 6
    for i in 0 1 2; do
        printf '[[replica]]\nid = %s\nhost = "127.0.0.1"\nclient_port = %s\nbroadcast_port = %s\n' \
            "$i" "${PORTS[i]}" "${PORTS[i + 3]}"
    done >"$SCRATCH/$mode/cluster.toml"
    for i in 0 1 2; do
        launch "$mode" "$PROGRAMS/servers" --consistency="$mode" --sync os --only "$i" \
            --cluster "$SCRATCH/$mode/cluster.toml" --data "$SCRATCH/$mode"
    done
    TO[$mode]=$(addresses "${PORTS[@]:0:3}")
    await "$mode" 30 takes_writes "$mode" || return 1
    VERSION[$mode]=$("$PROGRAMS/servers" --version)
    # Where no replica says that it leads, each is as good as the first.
    leader=$(for i in 0 1 2; do
        "$PROGRAMS/lab" client --to "127.0.0.1:${PORTS[i]}" stats 2>/dev/null |
            tr -d '\r' | grep -qiE '^STAT [a-z_]*(role|state) leader$' && echo "${PORTS[i]}" && break
    done) || true
    lead "$mode" "127.0.0.1:${leader:-${PORTS[0]}}"
}

start_linearizable() { start_replicas linearizable; }
start_sequential() { start_replicas sequential; }
start_eventual() { start_replicas eventual; }

start_kvstore2pc() {
    local program=$PROGRAMS/kvstore2pcsystem folder=$SCRATCH/kvstore2pc i
    [[ -f $ROOT/src/bin/kvstore2pcsystem.rs ]] || {
        REASON="kvstore2pcsystem is not part of this version"
        return 1
    }
    build_if_needed kvstore2pcsystem
    free_ports 4
    for i in 1 2 3; do
        printf 'mode participant\nparticipant_info 127.0.0.1:%s\ncoordinator_info 127.0.0.1:%s\n' \
            "${PORTS[i]}" "${PORTS[0]}" >"$folder/participant$i.conf"
        launch kvstore2pc "$program" --config_path "$folder/participant$i.conf"
    done
    {
        printf 'mode coordinator\ncoordinator_info 127.0.0.1:%s\n' "${PORTS[0]}"
        printf 'participant_info 127.0.0.1:%s\n' "${PORTS[@]:1}"
    } >"$folder/coordinator.conf"
    launch kvstore2pc "$program" --config_path "$folder/coordinator.conf"
    TO[kvstore2pc]=127.0.0.1:${PORTS[0]}
    VERSION[kvstore2pc]=$("$PROGRAMS/lab" --version)
    await kvstore2pc 30 takes_writes kvstore2pc
}

start_etcd() {
    needs etcd etcd-server || return 1
    local i cluster='' leader
    free_ports 6
    for i in 0 1 2; do cluster+=",n$i=http://127.0.0.1:${PORTS[i + 3]}"; done
    for i in 0 1 2; do
        # etcd takes every ETCD_... of the environment as an option; none may slip in.
        launch etcd env -i PATH="$PATH" etcd --name "n$i" --data-dir "$SCRATCH/etcd/$i" --log-level error \
            --listen-client-urls "http://127.0.0.1:${PORTS[i]}" \
            --advertise-client-urls "http://127.0.0.1:${PORTS[i]}" \
            --listen-peer-urls "http://127.0.0.1:${PORTS[i + 3]}" \
            --initial-advertise-peer-urls "http://127.0.0.1:${PORTS[i + 3]}" \
            --initial-cluster "${cluster:1}" --initial-cluster-state new --initial-cluster-token "peers-$$"
    done
    TO[etcd]=$(addresses "${PORTS[@]:0:3}")
    await etcd 60 takes_writes etcd || return 1
    VERSION[etcd]=$(etcd --version | head -n 1)
    leader=$(python3 "$REPORT" etcd-leader "${TO[etcd]}") || {
        REASON="none of its nodes says that it leads"
        return 1
    }
    lead etcd "$leader"
}

start_zookeeper() {
    needs java default-jre-headless && needs javac default-jdk-headless || return 1
    [[ -f $JARS/zookeeper.jar && -f $JARS/zookeeper-jute.jar ]] || {
        REASON="there is no $JARS/zookeeper.jar (Debian: apt-get install libzookeeper-java)"
        return 1
    }
    local folder=$SCRATCH/zookeeper i leader=''
    # The other jars are named in the manifest of the first.
    local jars=$JARS/zookeeper.jar:$JARS/zookeeper-jute.jar:$JARS/slf4j-simple.jar
    local java=(java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=error)
    run_child "$folder/javac.txt" javac -cp "$jars" -d "$folder/classes" "$ROOT/scripts/peers/ZooKeeperLoad.java" || {
        REASON="its client does not compile: $(last_line "$folder/javac.txt")"
        return 1
    }
    free_ports 9
    for i in 0 1 2; do
        mkdir -p "$folder/$i"
        echo "$i" >"$folder/$i/myid"
        cat >"$folder/$i.cfg" <<CONFIG
dataDir=$folder/$i
clientPort=${PORTS[i]}
clientPortAddress=127.0.0.1
tickTime=2000
initLimit=10
syncLimit=5
maxClientCnxns=0
forceSync=no
admin.enableServer=false
4lw.commands.whitelist=srvr
server.0=127.0.0.1:${PORTS[3]}:${PORTS[6]}
server.1=127.0.0.1:${PORTS[4]}:${PORTS[7]}
server.2=127.0.0.1:${PORTS[5]}:${PORTS[8]}
CONFIG
        launch zookeeper "${java[@]}" -Dzookeeper.forceSync=no -Dzookeeper.jmx.log4j.disable=true -cp "$jars" \
            org.apache.zookeeper.server.quorum.QuorumPeerMain "$folder/$i.cfg"
    done
    await zookeeper 120 zookeeper_leads || return 1
    VERSION[zookeeper]=$(basename "$(readlink -f "$JARS/zookeeper.jar")" .jar)
    TO[zookeeper]=$(addresses "${PORTS[@]:0:3}")
    for i in 0 1 2; do
        [[ $(zookeeper_mode "${PORTS[i]}") != leader ]] || leader=${PORTS[i]}
    done
    lead zookeeper "127.0.0.1:$leader"
    # One client for all runs: it takes orders from a pipe, and answers each with a line of a file.
    mkfifo "$folder/orders"
    launch_zookeeper_load "${java[@]}" -cp "$folder/classes:$jars" ZooKeeperLoad "${TO[zookeeper]}" "$keys" "$value_size"
    exec {ORDERS}<>"$folder/orders"
    await zookeeper 120 answered
}

launch_zookeeper_load() {
    ANSWERS=$SCRATCH/zookeeper/answers ANSWERED=0
    : >"$ANSWERS"
    "$@" <"$SCRATCH/zookeeper/orders" >"$ANSWERS" 2>"$SCRATCH/zookeeper/load.log" &
    PIDS[zookeeper]+=" $!"
}

# answered: whether the ZooKeeper client has answered once more, with a whole line; ANSWER is the answer.
answered() {
    (($(wc -l <"$ANSWERS") > ANSWERED)) || return 1
    ANSWERED=$((ANSWERED + 1))
    ANSWER=$(sed -n "${ANSWERED}p" "$ANSWERS")
}

# zookeeper_mode PORT: leader, follower, or nothing yet.
zookeeper_mode() {
    { timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf srvr >&3 && cat <&3' "$1" |
        sed -n 's/^Mode: //p'; } 2>/dev/null || true
}

# zookeeper_leads: whether all three have found their places.
zookeeper_leads() {
    local modes
    modes=$(for port in "${PORTS[@]:0:3}"; do zookeeper_mode "$port"; done | sort | tr '\n' ' ')
    [[ $modes == 'follower follower leader ' ]]
}

start_redis() {
    needs redis-server redis-server || return 1
    local i common=(--bind 127.0.0.1 --save '' --appendonly no --daemonize no --repl-diskless-sync-delay 0)
    free_ports 3
    for i in 0 1 2; do
        mkdir -p "$SCRATCH/redis/$i"
        local replica=()
        ((i == 0)) || replica=(--replicaof 127.0.0.1 "${PORTS[0]}")
        launch redis redis-server --port "${PORTS[i]}" --dir "$SCRATCH/redis/$i" "${common[@]}" "${replica[@]}"
    done
    TO[redis]=127.0.0.1:${PORTS[0]} # the others refuse writes
    VERSION[redis]=$(redis-server --version)
    await redis 30 says "$SCRATCH/redis/1.log" 'Finished with success' || return 1
    await redis 30 says "$SCRATCH/redis/2.log" 'Finished with success' || return 1
    await redis 30 takes_writes redis
}

start_memcached() {
    needs memcached memcached || return 1
    local user=()
    ((EUID != 0)) || user=(-u nobody) # it refuses to be root
    free_ports 1
    launch memcached memcached -l 127.0.0.1 -p "${PORTS[0]}" -U 0 -m 256 -c 20000 "${user[@]}"
    TO[memcached]=127.0.0.1:${PORTS[0]}
    VERSION[memcached]=$(memcached -V)
    await memcached 10 takes_writes memcached
}

# --- The measuring ---

# skip SUBJECT REASON
skip() {
    SKIPPED[$1]=$2
    stop_subject "$1"
    printf 'skipped: %-12s %s\n' "$1" "$2" >&2
}

# measure SUBJECT KIND CLIENTS ROUND: one run; its line for runs.csv in ROW. Status 1 and REASON where it fails.
measure() {
    local subject=$1 kind=$2 count=$3 round=$4 operations=$ops reads=0 folder=$SCRATCH/run
    ((count > 1)) || operations=$(((ops + 3) / 4))
    if [[ $subject == zookeeper ]]; then
        echo "$kind $count $operations $round" >&"$ORDERS"
        await zookeeper 600 answered || return 1
        ROW=$ANSWER
        return
    fi
    [[ $kind != get ]] || reads=1
    rm -rf "$folder"
    run_child "$SCRATCH/bench.log" "$PROGRAMS/lab" bench --to "${TO[$subject]}" --protocol "${PROTOCOL[$subject]}" \
        --clients "$count" --ops "$operations" --reads "$reads" --keys "$keys" --value-size "$value_size" \
        --seed "$((round + 1))" --out "$folder" || {
        REASON="the load failed: $(last_line "$SCRATCH/bench.log")"
        return 1
    }
    all_live "$subject" || {
        REASON="a process of it ended: $(last_line "$SCRATCH/$subject"/*.log)"
        return 1
    }
    ROW=$(python3 "$REPORT" row "$folder/summary.json")
}

# one_round ROUND: every subject once with each work. Round 0 warms up and is not written down.
one_round() {
    local round=$1 count kind subject
    for count in "${client_counts[@]}"; do
        for kind in set get; do
            for subject in "${chosen[@]}"; do
                [[ -z ${SKIPPED[$subject]:-} ]] || continue
                if measure "$subject" "$kind" "$count" "$round"; then
                    ((round == 0)) || echo "$round,$subject,$kind,$count,$ROW" >>"$SCRATCH/runs.csv"
                else
                    skip "$subject" "$kind, $count clients: $REASON"
                fi
            done
        done
    done
}

# choose_baseline: the one asked for, or the first of ours that takes part.
choose_baseline() {
    local subject
    [[ -z $baseline ]] || return 0
    for subject in "${OURS[@]}" "${SUBJECTS[@]}"; do
        if [[ ",$only," == *",$subject,"* && -z ${SKIPPED[$subject]:-} ]]; then
            baseline=$subject
            return
        fi
    done
}

# describe: what report.py needs beside the runs: a line each, FIELD, SUBJECT and TEXT with tabs between.
describe() {
    local subject
    printf 'baseline\t\t%s\n' "$baseline"
    printf 'note\t\t%s\n' "${NOTES[@]}"
    for subject in "${chosen[@]}"; do
        printf 'promise\t%s\t%s\n' "$subject" "${PROMISE[$subject]}"
        [[ -z ${VERSION[$subject]:-} ]] || printf 'version\t%s\t%s\n' "$subject" "${VERSION[$subject]}"
        [[ -z ${TO[$subject]:-} ]] || printf 'to\t%s\t%s\n' "$subject" "${TO[$subject]}"
        [[ -z ${SKIPPED[$subject]:-} ]] || printf 'skipped\t%s\t%s\n' "$subject" "${SKIPPED[$subject]}"
    done
    local name
    for name in rounds ops keys value_size clients; do printf 'config\t%s\t%s\n' "$name" "${!name}"; done
    printf 'config\tspread\t%s\n' "${spread:-no}"
}

NOTES=("all subjects run all the time, on one machine; each round runs every subject once with each work"
    "clients are in a closed loop, with TCP_NODELAY; ZooKeeper's are its own, in Java, the others' are lab bench")
build_if_needed servers
build_if_needed lab
if [[ -w /dev/shm && $(stat -f -c %T /dev/shm) == tmpfs ]]; then
    export TMPDIR=/dev/shm
    NOTES+=("data on tmpfs, /dev/shm")
else
    NOTES+=("/dev/shm is no tmpfs that can be written: data in ${TMPDIR:-/tmp}, which may be a disk")
fi
make_scratch
trap stop_all EXIT
trap '' PIPE
if [[ -z $out ]]; then
    for ((n = 1; ; n++)); do
        out=$ROOT/results/peers-$n
        [[ -e $out ]] || break
    done
fi
mkdir -p "$out"
echo 'round,subject,work,clients,ops,errors,seconds,p50_us,p99_us,p99.9_us' >"$SCRATCH/runs.csv"

for subject in "${chosen[@]}"; do
    mkdir -p "$SCRATCH/$subject"
    if "start_$subject"; then
        printf 'started: %-12s %s\n' "$subject" "${TO[$subject]}" >&2
    else
        skip "$subject" "$REASON"
    fi
done
((${#SKIPPED[@]} < ${#chosen[@]})) || die "none of the subjects could be started"
for ((round = 0; round <= rounds; round++)); do
    if ((round == 0)); then echo "warming up ..." >&2; else echo "round $round of $rounds ..." >&2; fi
    one_round "$round"
done
choose_baseline
describe >"$SCRATCH/about.tsv"
python3 "$REPORT" table "$SCRATCH/runs.csv" "$SCRATCH/about.tsv" "$out"

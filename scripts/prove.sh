#!/usr/bin/env bash
# Shows that the simulator bites, and that it finds nothing in what is right: it must find every mutant (a
# protocol that is wrong on purpose), must find nothing in as many seeds of each correct mode, and must explore
# the small scopes completely. Release build.
#
# usage: scripts/prove.sh [--quick]
#
# Prints a table and writes it to results/proof.csv. Exit status 0 only where all came out as it should. All of
# it takes about four minutes on 2 cores; --quick takes half a minute.
#
# example: scripts/prove.sh --quick
#
# environment: SEEDS         seeds of each correct mode; 100000 by default (2000 with --quick)
#              MUTANT_SEEDS  seeds within which each mutant must be found; 5000 by default
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

seeds=100000
case ${1:-} in
--quick) seeds=2000 && shift ;;
esac
(($# == 0)) || usage_error "expected --quick or nothing, found '$1'"
seeds=${SEEDS:-$seeds} mutant_seeds=${MUTANT_SEEDS:-5000}
for number in "$seeds" "$mutant_seeds"; do
    [[ $number =~ ^[1-9][0-9]{0,8}$ ]] || usage_error "expected a number of seeds, found '$number'"
done
build_if_needed lab
lab=$PROGRAMS/lab
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
csv=$ROOT/results/proof.csv
mkdir -p "$ROOT/results"
echo "what,mode,expected,found,seconds,verdict" >"$csv"
wrong=0

# row WHAT MODE EXPECTED FOUND SECONDS VERDICT
row() {
    printf '%-16s %-11s %-8s %-80.80s %6s s  %s\n' "$1" "$2" "$3" "$4" "$5" "$6"
    printf '"%s",%s,"%s","%s",%s,%s\n' "$1" "$2" "$3" "$4" "$5" "$6" >>"$csv"
    [[ $6 == ok ]] || wrong=$((wrong + 1))
}

# sweep WHAT MODE EXPECTED-STATUS EXPECTED [ARGUMENT OF lab sim]...
# MODE 2pc is the two-phase commit lab, which has a simulation of its own.
sweep() {
    local what=$1 mode=$2 status=$3 expected=$4 started=$EPOCHREALTIME found verdict=WRONG code=0
    local simulate=(sim --consistency "$mode")
    [[ $mode == 2pc ]] && simulate=(2pc sim)
    shift 4
    "$lab" "${simulate[@]}" --out "$scratch/run" --no-shrink "$@" >"$scratch/out" 2>&1 || code=$?
    found=$(grep -m 1 -E '^(seed [0-9]+|all) ' "$scratch/out" || tail -n 1 "$scratch/out")
    [[ $code == "$status" ]] && verdict=ok
    row "$what" "$mode" "$expected" "$found" \
        "$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')" "$verdict"
}

echo "Mutants: each must be found within $mutant_seeds seeds."
while IFS=$'\t' read -r name modes _; do
    for mode in ${modes//,/ }; do
        sweep "$name" "$mode" 1 "found" --mutant "$name" --seeds "0..$mutant_seeds"
    done
done < <("$lab" sim --list-mutants)
while IFS=$'\t' read -r name _; do
    sweep "$name" 2pc 1 "found" --mutant "$name" --seeds "0..$mutant_seeds"
done < <("$lab" 2pc sim --list-mutants)

echo
echo "Correct modes: nothing in $seeds seeds of 200 operations on 3 replicas, and in a tenth of that on 1 to 5."
for mode in eventual session causal sequential linearizable; do
    # Elections take their time; a quarter of the seeds.
    [[ $mode == linearizable ]] && count=$((seeds / 4)) || count=$seeds
    sweep "correct" "$mode" 0 "nothing" --seeds "0..$count"
    # Other sizes have failures of their own; a tenth of the seeds each.
    for replicas in 1 2 4 5; do
        sweep "$replicas replicas" "$mode" 0 "nothing" --seeds "0..$((count / 10 + 1))" --replicas "$replicas"
    done
done
# A run of the two-phase commit lab takes longer; a fifth of the seeds.
sweep "correct" 2pc 0 "nothing" --seeds "0..$((seeds / 5 + 1))"
sweep "with a log" 2pc 0 "nothing" --seeds "0..$((seeds / 5 + 1))" --durable
for participants in 1 2 5; do
    sweep "$participants participants" 2pc 0 "nothing" --seeds "0..$((seeds / 20 + 1))" --participants "$participants"
done

echo
echo "Small scopes, all interleavings."
started=$EPOCHREALTIME
if "$lab" sim --exhaustive | tee "$scratch/out"; then
    found=$(grep -oE '[0-9]+ states' "$scratch/out" | awk '{ n += $1 } END { print n " states" }') verdict=ok
else
    found="see above" verdict=WRONG
fi
row "small scopes" "total order" "nothing" "$found" \
    "$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')" "$verdict"

echo
echo "written to ${csv#"$PWD/"}"
((wrong == 0)) || die "$wrong of these did not come out as they should"

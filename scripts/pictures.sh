#!/usr/bin/env bash
# Draws the pictures of docs/img/ anew. The tests hold them against what the programs draw, so run it when they
# say that a picture is out of date, and look at what changed.
#
# usage: scripts/pictures.sh
#
# example: scripts/pictures.sh && git diff --stat docs/img
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments"
build_if_needed lab
make_scratch
images=$ROOT/docs/img
"$PROGRAMS/lab" draw --out "$images/replicas.svg"

# exercise NAME [ARGUMENT]...: runs an exercise of the shard lab and takes its picture.
exercise() {
    "$PROGRAMS/lab" shard "$@" --out "$SCRATCH/$1" >/dev/null
    cp "$SCRATCH/$1/$1.svg" "$images/shard-$1.svg"
    echo "$images/shard-$1.svg"
}
exercise balance
exercise resize --from 12 --to 13
exercise quorum

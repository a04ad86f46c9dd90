#!/usr/bin/env bash
# Alternates writes and reads against the servers that run on port 9889. Prints the total time, how many
# reads were current and the latencies, and leaves files in results/. Run it once for each mode to see both
# side by side.
#
# usage: scripts/performance.sh [PAIRS] [ARGUMENT OF lab bench]...
#
#   PAIRS is the number of write and read pairs, 100 by default.
#
# example: scripts/server-normal.sh eventual     in one terminal, then in another
#          scripts/performance.sh 100
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

pairs=${1:-100}
[[ $pairs =~ ^[1-9][0-9]{0,8}$ ]] ||
    usage_error "expected a number of pairs from 1 to 999999999, found '$pairs'"
require_port "$FIRST_PORT"
build_if_needed lab
cd "$ROOT"
exec "$PROGRAMS/lab" bench --pairs "$pairs" --to "127.0.0.1:$FIRST_PORT" "${@:2}"

#!/usr/bin/env bash
# Starts three replicas that sleep 5 s before they apply a write, so that a person can watch it arrive.
# x starts as 0. Ctrl-C stops them.
#
# usage: scripts/server-stale.sh MODE [ARGUMENT OF servers]...
#
#   MODE is eventual or sequential. Clients connect to ports 9889, 9890 and 9891. Paths in further
#   arguments are taken from the repository root.
#
# example: scripts/server-stale.sh eventual
#
# environment: WRITE_DELAY                  a delay in place of 5s
#              CLIENT_PORT, BROADCAST_PORT  the first replica's ports in place of 9889 and 10052
#              DATA                         a folder in place of replicas
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

[[ ${1:-} =~ ^[a-z] ]] || usage_error "expected a MODE, e.g. eventual or sequential"
if is_given --write-delay "$@"; then
    run_servers "$@"
else
    run_servers "$@" --write-delay "${WRITE_DELAY:-5s}"
fi

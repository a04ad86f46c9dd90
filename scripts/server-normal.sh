#!/usr/bin/env bash
# Starts three replicas on this machine; x starts as 0. Ctrl-C stops them.
#
# usage: scripts/server-normal.sh MODE [ARGUMENT OF servers]...
#
#   MODE is eventual or sequential. Clients connect to ports 9889, 9890 and 9891; the stores are
#   replicas/0/storage.txt to replicas/2/storage.txt. Paths in further arguments are taken from the
#   repository root.
#
# example: scripts/server-normal.sh sequential --sync always
#
# environment: CLIENT_PORT, BROADCAST_PORT  the first replica's ports in place of 9889 and 10052
#              DATA                         a folder in place of replicas
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

[[ ${1:-} =~ ^[a-z] ]] || usage_error "expected a MODE, e.g. eventual or sequential"
run_servers "$@"

#!/usr/bin/env bash
# Reads a key from one replica, the second one by default, and prints the server's reply.
#
# usage: scripts/client-read.sh [KEY] [PORT]
#
#   KEY is x by default. PORT is a replica's client port, 9890 (the second replica) by default.
#
# example: scripts/client-read.sh x 9891
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# <= 2)) || usage_error "expected [KEY] [PORT]"
key=${1:-x}
port=${2:-$((FIRST_PORT + 1))}
require_key "$key"
require_port "$port"
connect "$port"
get_value "$key"
disconnect

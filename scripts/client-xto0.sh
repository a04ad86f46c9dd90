#!/usr/bin/env bash
# Sets x back to 0 at the first replica and prints the server's reply.
#
# usage: scripts/client-xto0.sh
#
# example: scripts/client-xto0.sh     prints STORED
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments"
require_port "$FIRST_PORT"
connect "$FIRST_PORT"
set_value x 0
disconnect

#!/usr/bin/env bash
# An interactive session with the first replica; type `help` there.
#
# usage: scripts/client-normal.sh
#
# example: scripts/client-normal.sh
#          > set x 42
#          > get x
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments; \`lab client --to HOST:PORT\` reaches other servers"
require_port "$FIRST_PORT"
build_if_needed lab
exec "$PROGRAMS/lab" client --to "127.0.0.1:$FIRST_PORT"

#!/usr/bin/env bash
# Sets x to 42 at the first replica, then reads x there, and prints the server's replies as they come.
#
# usage: scripts/client-stale.sh
#
# example: scripts/server-stale.sh eventual     in one terminal, then in another
#          scripts/client-stale.sh              prints STORED at once, then the old value 0
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 0)) || usage_error "expected no arguments; client-stale-custom.sh takes KEY VALUE [PORT]"
require_port "$FIRST_PORT"
set_then_get "$FIRST_PORT" x 42

#!/usr/bin/env bash
# Sets KEY to VALUE at one replica, then reads KEY there, and prints the server's replies as they come.
#
# usage: scripts/client-stale-custom.sh KEY VALUE [PORT]
#
#   PORT is a replica's client port, 9889 by default; 9890 is the second replica. VALUE may hold spaces.
#
# example: scripts/client-stale-custom.sh greeting 'hello world' 9890
#
# environment: CLIENT_PORT  the first replica's client port in place of 9889
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
help_if_asked "$@"

(($# == 2 || $# == 3)) || usage_error "expected KEY VALUE [PORT]"
require_key "$1"
require_port "${3:-$FIRST_PORT}"
set_then_get "${3:-$FIRST_PORT}" "$1" "$2"

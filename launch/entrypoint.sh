#!/bin/sh
# What the image runs: GPU settings, a mark for the liveness probe, then the command itself, in
# this process, so that SIGTERM reaches it.
set -eu
. "$(dirname "$0")/gpu.env"
touch "${JAXFACS_STARTED:-/tmp/jaxfacs.started}"
exec "$@"

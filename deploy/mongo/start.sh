#!/usr/bin/env bash
# Gives mongod a key file of its own with the mode that it demands, then starts as the image does.
set -euo pipefail
install -m 0400 /run/secrets/mongo_keyfile /tmp/keyfile
exec docker-entrypoint.sh "$@"

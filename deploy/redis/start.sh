#!/bin/sh
# Writes the password to where only this container reads it, then starts Redis.
set -eu
umask 077
printf 'requirepass %s\n' "$(cat /run/secrets/redis_password)" >/tmp/password.conf
exec "$@"

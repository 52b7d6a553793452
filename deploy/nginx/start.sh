#!/bin/sh
# Runs nginx, and lets it read certificate and key again when others lie in their folder, whoever
# put them there. What nginx refuses is looked at again until it fits: the two files are not
# exchanged in one moment.
# usage: deploy/nginx/start.sh FOLDER NGINX [OPTION ...]    NGINX stays in the foreground
set -eu

folder=$1
shift
seconds=${LOOK_SECONDS:-60}

content() { cat "$folder/tls.crt" "$folder/tls.key" 2>/dev/null | cksum; }

follow() {
    read_last=$(content)
    while sleep "$seconds"; do
        now=$(content)
        if [ "$now" != "$read_last" ] && "$@" -t -q; then
            kill -HUP "$nginx"
            read_last=$now
        fi
    done
}

"$@" &
nginx=$!
# nginx takes nobody new and ends what is under way.
trap 'kill -QUIT "$nginx"' TERM INT QUIT
follow "$@" &
following=$!
status=0
wait "$nginx" || status=$?
# A signal ends the waiting, and not yet nginx.
while kill -0 "$nginx" 2>/dev/null; do
    status=0
    wait "$nginx" || status=$?
done
kill "$following"
exit "$status"

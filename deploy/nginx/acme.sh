#!/bin/sh
# Gets a certificate for HOST from an ACME authority (Let's Encrypt unless told otherwise), and a new
# one when it is due: run it twice a day. Needs certbot, and nginx with our configuration reachable
# at port 80 of HOST. nginx takes the new one up by itself (start.sh).
# usage: deploy/nginx/acme.sh FOLDER HOST EMAIL [CERTBOT OPTION ...]
#        deploy/nginx/acme.sh --follow FOLDER    twice a day, until it is stopped; the host is that
#        of MEDSAGE_BASE_URL, with ACME_EMAIL and ACME_DIRECTORY
# Writes FOLDER/tls.crt and FOLDER/tls.key; FOLDER/acme holds the account: keep it.
set -eu

get() {
    folder=$1 host=$2 email=$3
    shift 3
    mkdir -p "$folder/webroot" "$folder/acme"
    certbot certonly --non-interactive --agree-tos --email "$email" --no-eff-email \
        --webroot --webroot-path "$folder/webroot" --domain "$host" --key-type ecdsa \
        --keep-until-expiring --deploy-hook "sh '$0' --put '$folder'" --config-dir "$folder/acme" \
        --work-dir "$folder/acme/work" --logs-dir "$folder/acme/logs" "$@"
}

# Called by certbot with a new certificate. Both files are whole at any moment.
put() {
    umask 077
    cp "$RENEWED_LINEAGE/privkey.pem" "$1/.tls.key.new"
    cp "$RENEWED_LINEAGE/fullchain.pem" "$1/.tls.crt.new"
    mv -f "$1/.tls.key.new" "$1/tls.key"
    mv -f "$1/.tls.crt.new" "$1/tls.crt"
}

follow() {
    host=${MEDSAGE_BASE_URL#https://}
    host=${host%%[:/]*}
    while :; do
        # Authorities allow few failures in an hour.
        pause=43200
        get "$1" "$host" "$ACME_EMAIL" --server "$ACME_DIRECTORY" || pause=3600
        sleep "$pause"
    done
}

case ${1-} in
--put) put "$2" ;;
--follow)
    : "${MEDSAGE_BASE_URL:?} ${ACME_EMAIL:?} ${ACME_DIRECTORY:?}"
    follow "$2"
    ;;
'' | -*)
    sed -n 's/^# usage: //p' "$0" >&2
    exit 2
    ;;
*)
    if [ $# -lt 3 ]; then
        sed -n 's/^# usage: //p' "$0" >&2
        exit 2
    fi
    get "$@"
    ;;
esac

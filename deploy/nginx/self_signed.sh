#!/usr/bin/env bash
# Makes a self-signed certificate for development.
# usage: deploy/nginx/self_signed.sh FOLDER [HOST]     writes FOLDER/tls.crt and FOLDER/tls.key
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '3s/^# //p' "$0" >&2
    exit 2
fi
folder=$1
host=${2:-localhost}
case $host in
*[!0-9.]*) name=DNS:$host ;;
*) name=IP:$host ;;
esac

[ -d "$folder" ] || mkdir -p -m 0700 "$folder"
if [ -e "$folder/tls.crt" ] || [ -e "$folder/tls.key" ]; then
    echo "self_signed.sh: $folder has a certificate already; nothing was changed" >&2
    exit 1
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
    -subj "/CN=$host" -addext "subjectAltName=$name" -addext "extendedKeyUsage=serverAuth" \
    -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
# Compose hands files on with the host's mode, and nginx in its container is another user: the
# folder is what keeps the key from others.
chmod 0444 "$folder/tls.crt" "$folder/tls.key"
echo "A certificate for $host, valid for 90 days, is in $folder"

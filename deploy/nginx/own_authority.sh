#!/usr/bin/env bash
# Makes an authority of one's own, once, and certificates by it: who trusts ca.crt trusts all of
# them, also those that are made later. For development and for networks without a public name.
# usage: deploy/nginx/own_authority.sh AUTHORITY FOLDER HOST [HOST ...]
# Writes AUTHORITY/ca.crt and AUTHORITY/ca.key where they are not yet, and, anew each time,
# FOLDER/tls.crt and FOLDER/tls.key for the hosts.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n 's/^# usage: //p' "$0" >&2
    exit 2
fi
authority=$1
folder=$2
shift 2
names=
for host in "$@"; do
    case $host in
    *[!0-9.]*) names+=,DNS:$host ;;
    *) names+=,IP:$host ;;
    esac
done

[ -d "$authority" ] || mkdir -p -m 0700 "$authority"
[ -d "$folder" ] || mkdir -p -m 0700 "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

if [ ! -e "$authority/ca.key" ]; then
    if [ -e "$authority/ca.crt" ]; then
        echo "own_authority.sh: $authority/ca.crt has lost its key; nothing was changed" >&2
        exit 1
    fi
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1825 \
        -subj "/CN=MedSAGE's own authority on $(hostname)" \
        -addext "basicConstraints=critical,CA:true,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
    mv "$work/ca.key" "$authority/ca.key"
    mv "$work/ca.crt" "$authority/ca.crt"
    chmod 0444 "$authority/ca.crt"
fi
cat >"$work/leaf.cnf" <<END
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=${names#,}
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
END
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
openssl x509 -req -in "$work/tls.csr" -CA "$authority/ca.crt" -CAkey "$authority/ca.key" \
    -set_serial "0x$(openssl rand -hex 16)" -days 90 -extfile "$work/leaf.cnf" \
    -out "$work/tls.crt" 2>/dev/null
# As in self_signed.sh: nginx in its container is another user; the folder keeps others out.
chmod 0444 "$work/tls.crt" "$work/tls.key"
for name in tls.key tls.crt; do
    cp -p "$work/$name" "$folder/.$name.new"
    mv -f "$folder/.$name.new" "$folder/$name"
done
echo "A certificate for $*, valid for 90 days, is in $folder; who trusts $authority/ca.crt trusts it"

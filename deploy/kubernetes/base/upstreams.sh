#!/bin/sh
# Makes of the containers' upstreams.conf the cluster's: its resolver, and the pods that are ready
# under their full names, since nginx knows no search list. Pods, not the Service's one address: so
# nginx asks another when one has gone.
# usage: upstreams.sh UPSTREAMS RESOLV.CONF >FILE
set -eu

first() { awk -v word="$2" '$1 == word { print $2; exit }' "$1"; }

resolver=$(first "$2" nameserver)
domain=$(first "$2" search)
if [ -z "$resolver" ] || [ -z "$domain" ]; then
    echo "upstreams.sh: $2 names no resolver or no domain" >&2
    exit 1
fi
case $resolver in *:*) resolver="[$resolver]" ;; esac
sed -e "s|^resolver [^ ]*|resolver $resolver|" \
    -e "s|server \([a-z]*\):5000|server \1-pods.$domain:5000|" "$1"

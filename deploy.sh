#!/usr/bin/env bash
# Runs MedSAGE in containers. Needs Docker with the Compose plugin.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
docker=${DOCKER:-docker}
secrets=deploy/secrets

usage() {
    cat <<'END'
usage: ./deploy.sh COMMAND

  dev               everything in one container on the embedded store: http://localhost:5000
  secrets           make the secret files that are missing in deploy/secrets
  prod              secrets, build, and start the production shape; needs MEDSAGE_BASE_URL
  status            what runs, and whether it is healthy
  logs [SERVICE]    the last lines of all services or of one, and what comes
  monitor           where the dashboard is, and whether all targets are up
  backup [VERB …]   make a backup now; or another verb of `medsage backup` (list, verify, drill …)
  restore [OPTION …] fill an empty database from the newest backup, before `prod` (--at, --backup)
  cleanup [--all]   stop and remove the containers; --all removes the data too, after a question

Variables: MEDSAGE_BASE_URL (https://medsage.example.org), MEDSAGE_LOG_LEVEL,
MEDSAGE_WORKER_CONCURRENCY, MEDSAGE_GEMINI_MODEL, MEDSAGE_GEMINI_INPUT_PRICE,
MEDSAGE_GEMINI_OUTPUT_PRICE, COMPOSE_PROFILES=acme with ACME_EMAIL, PUBLISHED_HTTP_PORT (80),
PUBLISHED_HTTPS_PORT (443), IMAGE_VERSION; they may stand in a file .env here.
END
}

fail() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}

need_docker() {
    "$docker" compose version >/dev/null 2>&1 ||
        fail "$docker with the Compose plugin is needed (https://docs.docker.com/compose/install)"
}

# Compose wants the address in every command, also in those that only look.
prod() { MEDSAGE_BASE_URL=$(base_url) "$docker" compose -f docker-compose.yml "$@"; }
dev() { "$docker" compose -f deploy/docker/compose.dev.yml "$@"; }

# Of the environment, or of the file .env, as Compose itself reads it.
setting() {
    if [ -n "${!1-}" ]; then
        printf '%s' "${!1}"
    elif [ -f .env ]; then
        sed -n "s/^$1=//p" .env | tail -n 1 | tr -d "\"'"
    fi
}

base_url() { setting MEDSAGE_BASE_URL; }

# The shape that runs: production when any of its containers is there, else development.
running() {
    if [ -n "$(MEDSAGE_BASE_URL=${MEDSAGE_BASE_URL:-https://localhost} \
        "$docker" compose -f docker-compose.yml ps -q 2>/dev/null)" ]; then
        MEDSAGE_BASE_URL=$(base_url)
        MEDSAGE_BASE_URL=${MEDSAGE_BASE_URL:-https://localhost} \
            "$docker" compose -f docker-compose.yml "$@"
    else
        dev "$@"
    fi
}

make_secrets() {
    mkdir -p "$secrets/tls"
    chmod 0700 "$secrets"
    # nginx and certbot, in their containers, are other users; the folder above keeps people out.
    chmod 0777 "$secrets/tls"
    if [ -x .venv/bin/python ]; then
        .venv/bin/python -m deploy.secret_files "$secrets"
    else
        dev build --quiet
        "$docker" run --rm --user "$(id -u):$(id -g)" -v "$root/$secrets:/secrets" \
            --entrypoint python "medsage-dev:${IMAGE_VERSION:-0.1.0}" \
            -m deploy.secret_files /secrets
    fi
}

# Compose's own --wait takes the container that makes the replica set, and ends, for a failure.
wait_for() {
    local service health end=$((SECONDS + 180))
    for service in "$@"; do
        while health=$("$docker" inspect --format '{{.State.Health.Status}}' \
            "$(prod ps --quiet "$service")" 2>/dev/null) && [ "$health" != healthy ] ||
            [ -z "$health" ]; do
            [ "$SECONDS" -lt "$end" ] ||
                fail "$service is not healthy after three minutes; see ./deploy.sh logs $service"
            sleep 2
        done
    done
}

# nginx does not start without one, and without nginx no authority can look whose the name is.
need_certificate() {
    local host=${1#https://}
    if [ -f "$secrets/tls/tls.crt" ] && [ -f "$secrets/tls/tls.key" ]; then return; fi
    case ,$(setting COMPOSE_PROFILES), in
    *,acme,*)
        [ -n "$(setting ACME_EMAIL)" ] || fail "set ACME_EMAIL to whom the authority may write"
        deploy/nginx/self_signed.sh "$secrets/tls" "${host%%[:/]*}"
        ;;
    *)
        fail "put the certificate chain and its key into $secrets/tls/tls.crt and tls.key; or let \
an authority give one (COMPOSE_PROFILES=acme ACME_EMAIL=…); or, to try it out: \
deploy/nginx/self_signed.sh $secrets/tls HOST"
        ;;
    esac
}

start_prod() {
    local url
    url=$(base_url)
    case $url in
    https://*) ;;
    '') fail "set MEDSAGE_BASE_URL to the public address, as https://medsage.example.org" ;;
    *) fail "MEDSAGE_BASE_URL must begin with https:// and is $url" ;;
    esac
    make_secrets
    need_certificate "$url"
    prod build
    prod up --detach
    wait_for nginx worker grafana
    printf 'MedSAGE answers at %s\n' "$url"
}

monitor() {
    local url
    url=$(base_url)
    printf 'Dashboard: %s/grafana/ (user admin, password in %s/grafana_password)\n\nTargets:\n' \
        "${url:-https://localhost}" "$secrets"
    running exec -T prometheus \
        promtool query instant http://127.0.0.1:9090 'up{job=~"server|worker|app"}'
}

# The worker has the store, the place of the backups and their key.
backup() {
    if [ $# -eq 0 ]; then set -- create; fi
    prod exec -T worker medsage backup "$@"
}

# A server that runs writes into the database, which would not be empty then.
restore() {
    if [ -n "$(prod ps -q server worker)" ]; then
        fail "server and worker run: a restore goes into an empty installation (./deploy.sh cleanup \
--all removes this one; keep the volume or bucket of the backups)"
    fi
    make_secrets
    prod up --detach mongo-init
    prod run --rm --no-deps -T worker backup restore --data /data/restored "$@"
    echo "restored; ./deploy.sh prod starts it"
}

cleanup() {
    local answer
    case ${1-} in
    '') running down --remove-orphans ;;
    --all)
        printf 'This removes all patient data of this installation. Type REMOVE to go on: ' >&2
        read -r answer || answer=
        [ "$answer" = REMOVE ] || fail "nothing was removed"
        running down --remove-orphans --volumes
        ;;
    *) fail "cleanup knows --all only" ;;
    esac
}

command=${1-help}
if [ $# -gt 0 ]; then shift; fi
case $command in
help | -h | --help)
    usage
    exit 0
    ;;
secrets)
    make_secrets
    exit 0
    ;;
dev | prod | status | logs | monitor | backup | restore | cleanup) need_docker ;;
*)
    usage >&2
    fail "unknown command: $command"
    ;;
esac
case $command in
dev)
    dev up --build --detach --wait
    echo "MedSAGE answers at http://localhost:5000"
    ;;
prod) start_prod ;;
status) running ps ;;
logs) running logs --tail 200 --follow "$@" ;;
monitor) monitor ;;
backup) backup "$@" ;;
restore) restore "$@" ;;
cleanup) cleanup "$@" ;;
esac

#!/usr/bin/env bash
# Runs MedSAGE in containers, which needs Docker with the Compose plugin, or with --processes as
# processes of this machine.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
docker=${DOCKER:-docker}
secrets=deploy/secrets

usage() {
    cat <<'END'
usage: ./deploy.sh [--processes] COMMAND

  dev               everything in one container on the embedded store: http://localhost:5000
  secrets [--new NAME] make the secret files that are missing in deploy/secrets; or make a
                    password anew (redis_password, mongo_medsage_password)
  prod [backup]     secrets, build, and start the production shape; needs MEDSAGE_BASE_URL; with
                    `backup`, make one before anything is changed
  upgrade [--no-backup] [--no-check]
                    backup, build, the new version's look at the store and its migration, then one
                    role after the other runs it, back to the old one when one does not get healthy;
                    then nginx, Prometheus, Alertmanager and Grafana take up their files; without
                    backup or look where it is the upgrade that makes them possible again
  status            what runs, and whether it is healthy
  logs [SERVICE]    the last lines of all services or of one, and what comes
  monitor           where the dashboard is, and whether all targets are up
  backup [VERB …]   make a backup now; or another verb of `medsage backup` (list, verify, drill …)
  restore [OPTION …] fill an empty database from the newest backup, before `prod` (--at, --backup)
  cleanup [--data | --all]
                    stop and remove the containers; --data empties MongoDB and Redis too, before a
                    restore; --all removes every volume, that of the backups too; after a question

With --processes the same verbs run nginx, servers, workers, app, Redis and MongoDB as processes of
this machine, and `exec` runs `medsage` with their settings; ./deploy.sh --processes --help.

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
    if [ -n "$(there ps -q 2>/dev/null)" ]; then there "$@"; else dev "$@"; fi
}

# Production, when it is only looked at or taken away: then its address is no matter.
there() {
    local url
    url=$(base_url)
    MEDSAGE_BASE_URL=${url:-https://localhost} "$docker" compose -f docker-compose.yml "$@"
}

make_secrets() {
    mkdir -p "$secrets/tls"
    chmod 0700 "$secrets"
    # nginx and certbot, in their containers, are other users; the folder above keeps people out.
    chmod 0777 "$secrets/tls"
    if [ -x .venv/bin/python ]; then
        .venv/bin/python -m deploy.secret_files "$secrets" "$@"
    else
        dev build --quiet
        "$docker" run --rm --user "$(id -u):$(id -g)" -v "$root/$secrets:/secrets" \
            --entrypoint python "medsage-dev:${IMAGE_VERSION:-0.1.0}" \
            -m deploy.secret_files /secrets "$@"
    fi
}

is_healthy() {
    local id ids
    ids=$(prod ps --quiet "$1")
    [ -n "$ids" ] || return 1
    for id in $ids; do
        [ "$("$docker" inspect --format '{{.State.Health.Status}}' "$id")" = healthy ] || return 1
    done
}

# Compose's own --wait takes the container that makes the replica set, and ends, for a failure.
wait_for() {
    local service end=$((SECONDS + ${WAIT_SECONDS:-180}))
    for service in "$@"; do
        until is_healthy "$service"; do
            [ "$SECONDS" -lt "$end" ] ||
                fail "$service is not healthy after ${WAIT_SECONDS:-180} s; see ./deploy.sh logs $service"
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
    local url door first=${1-}
    url=$(base_url)
    case $first in
    '' | backup) ;;
    *) fail "prod knows backup only" ;;
    esac
    case $url in
    https://*) ;;
    '') fail "set MEDSAGE_BASE_URL to the public address, as https://medsage.example.org" ;;
    *) fail "MEDSAGE_BASE_URL must begin with https:// and is $url" ;;
    esac
    make_secrets
    need_certificate "$url"
    if [ "$first" = backup ]; then backup_before; fi
    look_at_what_runs
    door=$(prod ps --quiet nginx)
    prod build
    if is_running; then
        # Only to ask it: what runs may be without it.
        prod up --detach --no-recreate mongo-init
        stop_who_can_not_stay
    fi
    as_many prod up --detach
    wait_for nginx worker grafana
    if [ -n "$door" ]; then
        reload_door
        watch_anew
    fi
    printf 'MedSAGE answers at %s\n' "$url"
}

is_running() { [ -n "$(prod ps -q server worker app)" ]; }

# The images of what runs, to go back to, and how many there are of each: Compose makes one again
# unless it is told.
declare -A before=() several=()
look_at_what_runs() {
    local role ids number
    for role in server worker app; do
        ids=$(prod ps --all -q "$role")
        if [ -z "$ids" ]; then continue; fi
        before[$role]=$("$docker" inspect --format '{{.Image}}' "${ids%%$'\n'*}")
        number=$(wc -l <<<"$ids")
        if [ "$number" -gt 1 ]; then several[$role]=$number; fi
    done
}

as_many() {
    local role
    for role in "${!several[@]}"; do set -- "$@" --scale "$role=${several[$role]}"; done
    "$@"
}

# The names that Compose starts are the old images' again.
untag_all() {
    local role
    for role in "${!before[@]}"; do
        "$docker" tag "${before[$role]}" "medsage-$role:${IMAGE_VERSION:-0.1.0}"
    done
}

# Whether who runs may use the store beside the version that was built; who may not is stopped.
stopped=
stop_who_can_not_stay() {
    local said=0
    prod run --rm --no-deps -T --entrypoint python worker -m deploy.beside || said=$?
    case $said in
    0) ;;
    10)
        prod stop app worker server
        stopped=yes
        ;;
    *)
        untag_all
        fail "the store can't be asked whether the version that runs may use it beside the new one \
(above); nothing was changed"
        ;;
    esac
}

# nginx goes on with the configuration that is here now; nobody is refused meanwhile.
reload_door() {
    local old end=$((SECONDS + ${WAIT_SECONDS:-30}))
    old=$(door_workers) || old=
    in_door nginx -c /opt/nginx/nginx.conf -t -q ||
        fail "nginx refuses its configuration (above), and goes on with the one before"
    in_door nginx -c /opt/nginx/nginx.conf -s reload
    # What can't be changed while it runs, as what a limit counts by, it refuses only now.
    while [ "$(door_workers)" = "$old" ]; do
        if [ "$SECONDS" -ge "$end" ]; then
            prod restart nginx
            wait_for nginx
            return
        fi
        sleep 1
    done
}

in_door() { prod exec -T nginx "$@"; }
door_workers() { in_door pgrep -f 'nginx: worker process *$' | sort; }

# Files of theirs that were exchanged are seen by a new container alone.
watch_anew() {
    local look=(prod run --rm --no-deps -T --entrypoint)
    "${look[@]}" promtool prometheus check config /etc/prometheus/prometheus.yml &&
        "${look[@]}" amtool alertmanager check-config /etc/alertmanager/alertmanager.yml ||
        fail "Prometheus or Alertmanager refuses its files (above), and goes on with those before"
    prod up --detach --no-deps --force-recreate prometheus alertmanager grafana
    wait_for prometheus alertmanager grafana
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

# What is there is saved by the version that made it. Without a store there is nothing to save.
backup_before() {
    if is_running; then
        back_up
    elif [ -n "$(prod ps --all -q mongo-1)" ]; then
        prod up --detach mongo-init
        prod run --rm --no-deps -T worker backup create
    fi
}

# A worker that does not get up can't be asked; another container of the same image can.
back_up() { backup create || prod run --rm --no-deps -T worker backup create; }

upgrade() {
    local role option saves=yes looks=yes
    for option in "$@"; do
        case $option in
        --no-backup) saves= ;;
        --no-check) looks= ;;
        *) fail "upgrade knows --no-backup and --no-check only" ;;
        esac
    done
    is_running || fail "nothing runs; ./deploy.sh prod starts it"
    make_secrets
    if [ -n "$saves" ] && ! back_up; then
        fail "the backup failed (above); nothing was changed. If none can be made before the \
upgrade: ./deploy.sh upgrade --no-backup"
    fi
    look_at_what_runs
    prod build
    # How the old servers are is no matter: they may be what is to be mended.
    if [ -n "$looks" ] &&
        ! prod run --rm --no-deps -T --env MEDSAGE_ROLE=worker worker check --no-server; then
        untag_all
        fail "the new version can't work with what is here (above); nothing was changed. If the \
upgrade is to mend it: ./deploy.sh upgrade --no-check"
    fi
    stop_who_can_not_stay
    if ! prod run --rm --no-deps -T worker migrate; then
        [ -z "$stopped" ] || fail "the store's migration did not end (above); app, worker and \
server were stopped: mend it, and ./deploy.sh prod goes on with the new version"
        untag_all
        fail "the store's migration did not end (above); no container was replaced"
    fi
    for role in server worker app nginx; do
        if replaced "$role" && (wait_for "$role"); then continue; fi
        [ -z "$stopped" ] || fail "the version before can't use the store any more: mend it, or \
restore the backup (./deploy.sh restore)"
        untag_all
        for role in server worker app; do replaced "$role"; done
        fail "the old version runs again"
    done
    reload_door
    watch_anew
    echo "upgraded"
}

replaced() {
    local how=()
    if [ -n "${several[$1]-}" ]; then how=(--scale "$1=${several[$1]}"); fi
    prod up --detach --no-deps "${how[@]}" "$1"
}

# A server that runs writes into the database, which would not be empty then.
restore() {
    if [ -n "$(prod ps -q server worker)" ]; then
        fail "server and worker run: a restore goes into an empty installation (./deploy.sh cleanup \
--data empties this one and keeps the backups)"
    fi
    make_secrets
    prod up --detach mongo-init
    prod run --rm --no-deps -T worker backup restore --data /data/restored "$@"
    echo "restored; ./deploy.sh prod starts it"
}

cleanup() {
    case ${1-} in
    '') running down --remove-orphans ;;
    --data)
        need_word "but not its backups"
        there down --remove-orphans
        remove_stores
        ;;
    --all)
        need_word "and its backups, unless they lie outside (MEDSAGE_BACKUP_TARGET)"
        running down --remove-orphans --volumes
        ;;
    *) fail "cleanup knows --data and --all only" ;;
    esac
}

need_word() {
    local answer
    printf 'This removes all patient data of this installation, %s. Type REMOVE to go on: ' "$1" >&2
    read -r answer || answer=
    [ "$answer" = REMOVE ] || fail "nothing was removed"
}

remove_stores() {
    local project store volume removed=
    project=$(there config | sed -n 's/^name: //p')
    for store in mongo-1 mongo-2 mongo-3 redis; do
        volume=$("$docker" volume ls --quiet --filter "label=com.docker.compose.project=$project" \
            --filter "label=com.docker.compose.volume=$store")
        if [ -z "$volume" ]; then continue; fi
        "$docker" volume rm "$volume"
        removed=yes
    done
    [ -n "$removed" ] || fail "no store of production is here; nothing was removed"
}

if [ "${1-}" = --processes ]; then
    shift
    [ -x .venv/bin/python ] || fail "no .venv here; ./quickstart.sh setup makes it"
    PYTHONPATH=$root exec .venv/bin/python -m deploy.processes "$@"
fi
command=${1-help}
if [ $# -gt 0 ]; then shift; fi
case $command in
help | -h | --help)
    usage
    exit 0
    ;;
secrets)
    make_secrets "$@"
    exit 0
    ;;
dev | prod | upgrade | status | logs | monitor | backup | restore | cleanup) need_docker ;;
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
prod) start_prod "$@" ;;
upgrade) upgrade "$@" ;;
status) running ps ;;
logs) running logs --tail 200 --follow "$@" ;;
monitor) monitor ;;
backup) backup "$@" ;;
restore) restore "$@" ;;
cleanup) cleanup "$@" ;;
esac

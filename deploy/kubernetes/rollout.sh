#!/usr/bin/env bash
# Brings an overlay into the cluster that kubectl speaks to, in order: settings, policies and recipes
# of jobs; a backup if asked for; what can't use the store any more is stopped; the store brought to
# the new version's schema, and looked at; then the new version, until every part runs it.
# usage: deploy/kubernetes/rollout.sh OVERLAY_FOLDER [--backup] [--no-check]
# Repeating it changes nothing, and goes on where it was stopped.
set -euo pipefail

# What the new version brings; everything else comes before it.
parts=(server worker app nginx)
listed=$(IFS=,; echo "${parts[*]}")
patience=${PATIENCE:-600}

fail() {
    printf 'rollout: %s\n' "$*" >&2
    exit 1
}

here() { kubectl --namespace "$namespace" "$@"; }

left="no part was given the new version"
back="the old pods still answer, and kubectl rollout undo deployment/PART leads back"

# Follows one of the recipes (a suspended CronJob) to its end; whether it ended well.
ended_well() {
    local state end=$((SECONDS + patience))
    job=$1-$(date -u +%Y%m%d-%H%M%S)
    here create job "$job" --from="cronjob/$1" || fail "the job $job can't be made; $left"
    while true; do
        state=$(here get job "$job" \
            --output 'jsonpath={.status.conditions[?(@.status=="True")].type}') || state=
        case " $state " in
        *" Complete "*)
            here logs "job/$job" || true
            return 0
            ;;
        *" Failed "*)
            here logs "job/$job" >&2 || true
            return 1
            ;;
        esac
        [ "$SECONDS" -lt "$end" ] ||
            fail "the job $job has not ended within $patience seconds; $left"
        sleep 2
    done
}

run_job() { ended_well "$1" || fail "the job $job failed; $left"; }

# How many pods there were stands at the Deployment until they are there again.
number_kept=medsage.example/replicas

stop_who_can_not_stay() {
    local code part number
    if ended_well beside; then return; fi
    code=$(here get pods --selector "batch.kubernetes.io/job-name=$job" \
        --output 'jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}') || code=
    [ "$code" = 10 ] || fail "the store can't be asked whether the version that runs may use it \
beside the new one (above); $left"
    left="server, worker and app are stopped, since the version before can't use the store any \
more: mend it, and roll out again"
    back="the version before can't use the store any more, so that only a restored backup leads back"
    for part in app worker server; do
        number=$(here get deployment "$part" --ignore-not-found --output 'jsonpath={.spec.replicas}')
        if [ "${number:-0}" -gt 0 ]; then
            here annotate deployment "$part" --overwrite "$number_kept=$number"
            here scale deployment "$part" --replicas 0
        fi
    done
    here wait pods --selector 'app.kubernetes.io/component in (server,worker,app)' \
        --for=delete --timeout "${patience}s"
}

start_who_was_stopped() {
    local part number
    for part in server worker app; do
        number=$(here get deployment "$part" \
            --output "jsonpath={.metadata.annotations.${number_kept//./\\.}}")
        if [ -n "$number" ]; then
            here scale deployment "$part" --replicas "$number"
            here annotate deployment "$part" "$number_kept-"
        fi
    done
}

[ $# -ge 1 ] && [ -f "$1/kustomization.yaml" ] || {
    sed -n '5s/^# //p' "$0" >&2
    exit 2
}
overlay=$1
shift
saves='' looks=yes
for option in "$@"; do
    case $option in
    --backup) saves=yes ;;
    --no-check) looks='' ;;
    *) fail "$option is no option: there are --backup and --no-check" ;;
    esac
done
namespace=$(sed -n 's/^namespace: *//p' "$overlay/kustomization.yaml")
[ -n "$namespace" ] || fail "$overlay/kustomization.yaml names no namespace"
here get secret medsage --output name >/dev/null ||
    fail "make the secret first: docs/kubernetes.md, \"Secrets\""

kubectl apply --kustomize "$overlay" --selector "app.kubernetes.io/component notin ($listed)"
# The development overlay brings a store that has to be made first.
if here get job mongo-init --output name >/dev/null 2>&1; then
    here wait job/mongo-init --for=condition=complete --timeout "${patience}s"
fi
[ -z "$saves" ] || run_job backup
stop_who_can_not_stay
run_job migrate
if [ -n "$looks" ] && ! ended_well check; then
    fail "the new version can't work with what is here (above); $left. If the new version is to \
mend it: --no-check"
fi

kubectl apply --kustomize "$overlay"
start_who_was_stopped
for part in "${parts[@]}"; do
    here rollout status "deployment/$part" --timeout "${patience}s" ||
        fail "$part does not run the new version; $back. Look: kubectl \
--namespace $namespace describe pods --selector app.kubernetes.io/component=$part"
done
echo "rolled out: $overlay in $namespace"

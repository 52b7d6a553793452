#!/usr/bin/env bash
# Brings an overlay into the cluster that kubectl speaks to, in order: settings, policies and recipes
# of jobs; a backup if asked for; the store brought to the new version's schema, and looked at; then
# the new version, until every part runs it. Repeating it changes nothing.
# usage: deploy/kubernetes/rollout.sh OVERLAY_FOLDER [--backup]
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

# Follows one of the recipes (a suspended CronJob) and waits for its end.
run_job() {
    local job state end=$((SECONDS + patience))
    job=$1-$(date -u +%Y%m%d-%H%M%S)
    here create job "$job" --from="cronjob/$1"
    while true; do
        state=$(here get job "$job" \
            --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
        case " $state " in
        *" Complete "*) break ;;
        *" Failed "*)
            here logs "job/$job" >&2 || true
            fail "the job $job failed; no part was given the new version"
            ;;
        esac
        [ "$SECONDS" -lt "$end" ] ||
            fail "the job $job has not ended within $patience seconds; no part was given the new version"
        sleep 2
    done
    here logs "job/$job" || true
}

[ $# -ge 1 ] && [ -f "$1/kustomization.yaml" ] || {
    sed -n '5s/^# //p' "$0" >&2
    exit 2
}
overlay=$1
case ${2-} in
'' | --backup) ;;
*) fail "$2 is no option: there is --backup alone" ;;
esac
namespace=$(sed -n 's/^namespace: *//p' "$overlay/kustomization.yaml")
[ -n "$namespace" ] || fail "$overlay/kustomization.yaml names no namespace"
here get secret medsage --output name >/dev/null ||
    fail "make the secret first: docs/kubernetes.md, \"Secrets\""

kubectl apply --kustomize "$overlay" --selector "app.kubernetes.io/component notin ($listed)"
# The development overlay brings a store that has to be made first.
if here get job mongo-init --output name >/dev/null 2>&1; then
    here wait job/mongo-init --for=condition=complete --timeout "${patience}s"
fi
[ "${2-}" != --backup ] || run_job backup
run_job migrate
run_job check

kubectl apply --kustomize "$overlay"
for part in "${parts[@]}"; do
    here rollout status "deployment/$part" --timeout "${patience}s" ||
        fail "$part does not run the new version; the old pods still answer. Look: kubectl \
--namespace $namespace describe pods --selector app.kubernetes.io/component=$part. Back: kubectl \
--namespace $namespace rollout undo deployment/$part"
done
echo "rolled out: $overlay in $namespace"

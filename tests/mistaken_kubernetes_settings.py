"""Mistakes planted in a rendering of the manifests, and the check that must find each."""

from collections.abc import Callable
from typing import Any

from tests.kubernetes_rendering import Rendering


def container(rendering: Rendering, name: str) -> Any:
    return rendering.workload(name).pod["containers"][0]


def environment(rendering: Rendering, name: str) -> Any:
    return rendering.named("ConfigMap", name)["data"]


def policy(rendering: Rendering, name: str) -> Any:
    return rendering.named("NetworkPolicy", name)["spec"]


def without(rendering: Rendering, kind: str, name: str) -> None:
    rendering.objects.remove(rendering.named(kind, name))


def forgotten_file(rendering: Rendering, name: str, file: str) -> None:
    (volume,) = [
        each for each in rendering.workload(name).pod["volumes"] if each["name"] == "secrets"
    ]
    items = volume["secret"]["items"]
    items[:] = [each for each in items if each["key"] != file]


SERVER, WORKER, APP = "Deployment/server", "Deployment/worker", "Deployment/app"
MISTAKES: dict[str, tuple[str, Callable[[Rendering], Any]]] = {
    "a misspelt member": ("schema", lambda all: container(all, SERVER).update(livenesProbe={})),
    "a number as a word": (
        "schema",
        lambda all: all.workload(SERVER).pod.update(terminationGracePeriodSeconds="40"),
    ),
    "a kind that is not there": (
        "schema",
        lambda all: all.named("HorizontalPodAutoscaler", "server").update(
            apiVersion="autoscaling/v2beta2"
        ),
    ),
    "a misspelt member of a monitor": (
        "schema",
        lambda all: all.named("PodMonitor", "medsage")["spec"].update(podMetricEndpoints=[]),
    ),
    "another namespace": (
        "namespaces",
        lambda all: all.named("Service", "app")["metadata"].update(namespace="default"),
    ),
    "a namespace that lets all in": (
        "namespaces",
        lambda all: all.of("Namespace")[0]["metadata"].update(labels={}),
    ),
    "root": (
        "hardening",
        lambda all: all.workload(APP).pod["securityContext"].update(runAsUser=0),
    ),
    "an image that can be written to": (
        "hardening",
        lambda all: container(all, WORKER)["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    "a token of the cluster": (
        "hardening",
        lambda all: all.workload("CronJob/backup").pod.update(automountServiceAccountToken=True),
    ),
    "the machine's files": (
        "hardening",
        lambda all: (
            all.workload(SERVER).pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
        ),
    ),
    "the newest image": (
        "images",
        lambda all: container(all, SERVER).update(image="medsage-server:latest"),
    ),
    "another role's image": (
        "images",
        lambda all: container(all, SERVER).update(image=container(all, APP)["image"]),
    ),
    "another nginx than Compose's": (
        "images",
        lambda all: container(all, "Deployment/nginx").update(image="nginx:1.28.0"),
    ),
    "a map that is not there": (
        "references",
        lambda all: container(all, SERVER)["envFrom"].append({"configMapRef": {"name": "setings"}}),
    ),
    "a secret file that nobody makes": (
        "references",
        lambda all: (
            all.workload(SERVER)
            .pod["volumes"]
            .append(
                {
                    "name": "x",
                    "secret": {"secretName": "medsage", "items": [{"key": "x", "path": "x"}]},
                }
            )
        ),
    ),
    "a volume that is not mounted": (
        "references",
        lambda all: container(all, SERVER)["volumeMounts"].pop(),
    ),
    "a Service that selects nobody": (
        "selectors",
        lambda all: all.named("Service", "worker")["spec"].update(selector={"app": "worker"}),
    ),
    "a port that nobody has": (
        "selectors",
        lambda all: all.named("Service", "app")["spec"]["ports"][0].update(targetPort="web"),
    ),
    "pods that their maker does not select": (
        "selectors",
        lambda all: all.workload(SERVER).labels.update({"app.kubernetes.io/component": "servers"}),
    ),
    "two who say the number": (
        "numbers",
        lambda all: all.workload(SERVER).made_by["spec"].update(replicas=2),
    ),
    "a single door": (
        "numbers",
        lambda all: all.workload("Deployment/nginx").made_by["spec"].update(replicas=1),
    ),
    "an autoscaler of nothing": (
        "numbers",
        lambda all: all.named("HorizontalPodAutoscaler", "app")["spec"]["scaleTargetRef"].update(
            name="apps"
        ),
    ),
    "no budget": ("numbers", lambda all: without(all, "PodDisruptionBudget", "worker")),
    "an option that is not there": (
        "commands",
        lambda all: container(all, "CronJob/backup")["args"].append("--everything"),
    ),
    "a command that is not there": (
        "commands",
        lambda all: container(all, "CronJob/verify").update(args=["backup", "prove"]),
    ),
    "a module that is not there": (
        "commands",
        lambda all: container(all, "CronJob/beside").update(command=["python", "-m", "beside"]),
    ),
    "another role": (
        "commands",
        lambda all: container(all, SERVER)["env"][0].update(value="all"),
    ),
    "a misspelt setting": (
        "settings",
        lambda all: environment(all, "settings").update(MEDSAGE_LOGLEVEL="info"),
    ),
    "a value that is none": (
        "settings",
        lambda all: environment(all, "settings").update(MEDSAGE_LOG_LEVEL="loud"),
    ),
    "demonstration users": (
        "settings",
        lambda all: environment(all, "settings").update(MEDSAGE_DEMO="true"),
    ),
    "an address without TLS": (
        "settings",
        lambda all: environment(all, "settings").update(MEDSAGE_BASE_URL="http://medsage.test"),
    ),
    "no backup target": (
        "settings",
        lambda all: environment(all, "backups").pop("MEDSAGE_BACKUP_TARGET"),
    ),
    "a role without its key": (
        "settings",
        lambda all: forgotten_file(all, WORKER, "medsage_worker_key"),
    ),
    "a role without the store": (
        "settings",
        lambda all: forgotten_file(all, SERVER, "medsage_mongodb_uri"),
    ),
    "no master key": (
        "settings",
        lambda all: forgotten_file(all, "CronJob/backup", "encryption_master_key"),
    ),
    "a probe of nothing": (
        "probes",
        lambda all: container(all, SERVER)["readinessProbe"]["httpGet"].update(path="/ready"),
    ),
    "life that hangs on the store": (
        "probes",
        lambda all: container(all, APP)["livenessProbe"]["httpGet"].update(path="/health/ready"),
    ),
    "a port that nobody listens at": (
        "probes",
        lambda all: container(all, WORKER)["ports"][0].update(containerPort=8000),
    ),
    "no probe": ("probes", lambda all: container(all, "Deployment/nginx").pop("readinessProbe")),
    "no time to end": (
        "way_down",
        lambda all: all.workload(SERVER).pod.update(terminationGracePeriodSeconds=20),
    ),
    "an end while requests come": (
        "way_down",
        lambda all: environment(all, "settings").pop("MEDSAGE_DRAIN_SECONDS"),
    ),
    "a door that shuts while callers come": (
        "way_down",
        lambda all: container(all, "Deployment/nginx").pop("lifecycle"),
    ),
    "everything open": ("network", lambda all: without(all, "NetworkPolicy", "nothing")),
    "names that can't be looked up": (
        "network",
        lambda all: without(all, "NetworkPolicy", "names"),
    ),
    "the app at the store": (
        "network",
        lambda all: policy(all, "mongodb-by-address")["podSelector"]["matchExpressions"][0][
            "values"
        ].append("app"),
    ),
    "nginx at the worker": (
        "network",
        lambda all: policy(all, "worker")["ingress"].append(
            {"ports": [{"protocol": "TCP", "port": 5000}]}
        ),
    ),
    "the machine's metadata": (
        "network",
        lambda all: policy(all, "outside")["egress"][0]["to"][0]["ipBlock"].pop("except"),
    ),
    "metrics that nobody may read": (
        "network",
        lambda all: without(all, "NetworkPolicy", "metrics"),
    ),
    "an inner address that is shut": (
        "network",
        lambda all: policy(all, "app")["egress"].clear(),
    ),
    "an inner address at another port": (
        "network",
        lambda all: policy(all, "server")["ingress"][0]["ports"][0].update(port=5001),
    ),
}

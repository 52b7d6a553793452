"""The Kubernetes manifests of every overlay, rendered and held against the schemas of Kubernetes
and against the program. No cluster takes part."""

import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests import kubernetes_checks, kubernetes_settings
from tests.availability import ROOT
from tests.command_line import assert_command
from tests.kubernetes_rendering import OVERLAYS, ROLES, Rendering, rendered

pytestmark = pytest.mark.kustomize

CHECKS = {**kubernetes_checks.CHECKS, **kubernetes_settings.CHECKS}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("check", CHECKS)
def test_the_overlay_holds(overlay: str, check: str) -> None:
    assert list(CHECKS[check](rendered(overlay))) == []


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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    check, plant = MISTAKES[mistake]
    rendering = rendered("prod").copied()
    plant(rendering)
    assert list(CHECKS[check](rendering)) != []


def test_every_check_has_found_a_mistake() -> None:
    assert {check for check, _ in MISTAKES.values()} == set(CHECKS)


def test_all_parts_of_the_production_shape_are_there() -> None:
    names = {each.name for each in rendered("prod").workloads()}
    assert names == {
        *(f"Deployment/{each}" for each in (*ROLES, "nginx")),
        *(f"CronJob/{each}" for each in ("backup", "verify", "migrate", "check", "restore")),
    }


def test_the_development_overlay_brings_stores_and_publishes_nothing() -> None:
    dev = rendered("dev")
    assert {"StatefulSet/mongodb", "StatefulSet/redis", "Job/mongo-init"} <= {
        each.name for each in dev.workloads()
    }
    assert {each["spec"].get("type", "ClusterIP") for each in dev.of("Service")} == {"ClusterIP"}
    assert dev.of("HorizontalPodAutoscaler") == dev.of("PodDisruptionBudget") == []


PAGE = ROOT / "docs/kubernetes.md"
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
SHELL = [block for block in BLOCKS if not block.startswith("images:")]


def test_what_the_page_tells_to_type_can_be_parsed_and_names_what_exists() -> None:
    assert len(SHELL) >= 9
    prod, names = rendered("prod"), "\n".join(SHELL)
    for block in SHELL:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, (block, done.stderr)
    there = {each.name for each in prod.workloads()}
    for kind, word in (("CronJob", "cronjob"), ("Deployment", "deployment")):
        for name in re.findall(rf"\b{word}/(\w+)", names):
            assert f"{kind}/{name}" in there, name
    for path in re.findall(r"\bdeploy/[\w./-]+", names):
        assert (ROOT / path).exists() or path.startswith("deploy/secrets"), path
    for name in re.findall(r"service/(\w+)|service (\w+)", names):
        prod.named("Service", "".join(name))
    typed = re.findall(r"^kubectl .* exec .* -- medsage (.*)$", names, re.MULTILINE)
    assert typed
    for line in typed:
        assert_command(shlex.split(line))

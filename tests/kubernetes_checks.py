"""What must hold of every rendering of the Kubernetes manifests, looked at without a cluster: each
check yields what is wrong, in words."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import yaml

from deploy.secret_files import FILES
from tests.availability import ROOT
from tests.kubernetes_rendering import COMPONENT, ROLES, Object, Rendering, Workload
from tests.network_policies import selects

SCHEMAS = ROOT / "tests/samples/kubernetes"
VERSIONS = ("v1.30", "v1.37")
"""The oldest and the newest Kubernetes whose schemas are held against the manifests."""
SECRETS: Mapping[str, frozenset[str]] = {
    "medsage": frozenset(FILES),
    "medsage-tls": frozenset({"tls.crt", "tls.key"}),
    "medsage-issuers": frozenset(),
}
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?")
WORKER = "medsage-worker"
# The fields of other makers' kinds that are used here, as their references give them.
OTHER_KINDS: Mapping[str, tuple[str, frozenset[str], frozenset[str]]] = {
    "PodMonitor": (
        "monitoring.coreos.com/v1",
        frozenset({"jobLabel", "selector", "podMetricsEndpoints"}),
        frozenset({"selector", "podMetricsEndpoints"}),
    ),
    "Certificate": (
        "cert-manager.io/v1",
        frozenset({"secretName", "privateKey", "dnsNames", "issuerRef"}),
        frozenset({"secretName", "issuerRef"}),
    ),
}


@cache
def _definitions(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{version}.json").read_text("utf-8"))["$defs"]
    return found


@cache
def _validator(version: str, api: str, kind: str) -> Any:
    group, _, level = api.rpartition("/")
    package = group.removesuffix(".k8s.io") or "core"
    name = f"io.k8s.api.{package}.{level}.{kind}"
    definitions = _definitions(version)
    if name not in definitions:
        return None
    return jsonschema_rs.Draft7Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})


def _called(each: Object) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


def schema(rendering: Rendering) -> Iterator[str]:
    """Every object follows the schema of its kind, with no member beyond it."""
    for each in rendering.objects:
        if each["kind"] in OTHER_KINDS:
            yield from _other_kind(each)
            continue
        for version in VERSIONS:
            validator = _validator(version, each["apiVersion"], each["kind"])
            if validator is None:
                yield f"{_called(each)}: {each['apiVersion']} has no such kind in {version}"
                continue
            for problem in validator.iter_errors(each):
                yield f"{_called(each)}: {_path(problem)}: {problem.message} ({version})"


def _path(problem: jsonschema_rs.ValidationError) -> str:
    return ".".join(str(step) for step in problem.instance_path)


def _other_kind(each: Object) -> Iterator[str]:
    api, known, needed = OTHER_KINDS[each["kind"]]
    fields = frozenset(each["spec"])
    if each["apiVersion"] != api:
        yield f"{_called(each)}: {each['apiVersion']} is not {api}"
    if not needed <= fields <= known:
        yield f"{_called(each)}: {sorted(fields ^ known)}"


def namespaces(rendering: Rendering) -> Iterator[str]:
    """Everything lies in the one namespace of the overlay, which refuses what is not hardened."""
    (space,) = rendering.of("Namespace")
    name, labels = space["metadata"]["name"], space["metadata"]["labels"]
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        yield f"Namespace/{name}: pods that are not hardened are let in"
    for each in rendering.objects:
        if each is not space and each["metadata"].get("namespace") != name:
            yield f"{_called(each)} is not in {name}"


def hardening(rendering: Rendering) -> Iterator[str]:
    """No pod runs as root, writes to its image, gains rights or can ask the cluster anything."""
    for each in rendering.workloads():
        pod, own = each.pod, each.pod.get("securityContext", {})
        wanted = {
            "runs as root": own.get("runAsNonRoot") is True and own.get("runAsUser", 0) > 0,
            "has no seccomp profile": own.get("seccompProfile") == {"type": "RuntimeDefault"},
            "shares what is the machine's": not _SHARED & pod.keys(),
            "has a token of the cluster": pod.get("automountServiceAccountToken") is False,
            "gets variables of Services": pod.get("enableServiceLinks") is False,
        }
        yield from (f"{each.name} {fault}" for fault, holds in wanted.items() if not holds)
        for container in each.containers:
            for fault in _soft(container):
                yield f"{each.name}: {container['name']} {fault}"
        for volume in pod.get("volumes", ()):
            if "hostPath" in volume:
                yield f"{each.name} mounts the machine's {volume['hostPath']['path']}"


_SHARED = {"hostNetwork", "hostPID", "hostIPC"}
_OVERRIDES = {"runAsUser", "runAsNonRoot", "privileged", "seccompProfile"}


def _soft(container: Object) -> Iterator[str]:
    inner, room = container.get("securityContext", {}), container.get("resources", {})
    wanted = {
        "can gain rights": inner.get("allowPrivilegeEscalation") is False,
        "can write to its image": inner.get("readOnlyRootFilesystem") is True,
        "has capabilities": inner.get("capabilities") == {"drop": ["ALL"]},
        "overrides its pod": not _OVERRIDES & inner.keys(),
        "may take all memory": "memory" in room.get("limits", {}),
        "asks for no room": {"cpu", "memory"} <= room.get("requests", {}).keys(),
    }
    yield from (fault for fault, holds in wanted.items() if not holds)


def images(rendering: Rendering) -> Iterator[str]:
    """Each has a full version, and is one that Compose builds or takes."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    known = {re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", each["image"]) for each in services.values()}
    for each, image in _images(rendering):
        if not PINNED.fullmatch(image):
            yield f"{each.name}: {image} has no full version"
        if _as_compose_calls_it(image) not in known:
            yield f"{each.name}: {image} is no image of docker-compose.yml"
        role = each.component if each.component in ROLES else "worker"
        if "medsage" in image.rpartition("/")[0] and not image.partition(":")[0].endswith(role):
            yield f"{each.name}: {image} is another role's"


def _images(rendering: Rendering) -> Iterator[tuple[Workload, str]]:
    for each in rendering.workloads():
        yield from ((each, container["image"]) for container in each.containers)


def _as_compose_calls_it(image: str) -> str:
    """`registry.example.org/medsage/app:1.2.3` is what is called `medsage-app:1.2.3` there."""
    return re.sub(r"^.*/medsage/(\w+)(:[^@]+).*$", r"medsage-\1\2", image)


def references(rendering: Rendering) -> Iterator[str]:
    """What a pod names is there: maps, secrets and their files, volumes, its account."""
    there = {kind: {each["metadata"]["name"] for each in rendering.of(kind)} for kind in _NAMED}
    for each in rendering.workloads():
        for kind, name in _names(each):
            if kind in there and name not in there[kind]:
                yield f"{each.name}: there is no {kind} {name}"
            if kind == "Secret" and name not in SECRETS:
                yield f"{each.name}: nobody makes the secret {name}"
        yield from _mounts(each)
        for volume in each.pod.get("volumes", ()):
            secret = volume.get("secret", {})
            unknown = {item["key"] for item in secret.get("items", ())} - SECRETS.get(
                secret.get("secretName", ""), frozenset()
            )
            if unknown:
                yield f"{each.name}: {secret['secretName']} has no {sorted(unknown)}"


_NAMED = ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount")


def _names(workload: Workload) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", workload.pod.get("serviceAccountName", "default")
    for source in workload.container.get("envFrom", ()):
        yield "ConfigMap", source["configMapRef"]["name"]
    for volume in workload.pod.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]


def _mounts(workload: Workload) -> Iterator[str]:
    claims = workload.made_by["spec"].get("volumeClaimTemplates", ())
    volumes = {each["name"] for each in workload.pod.get("volumes", ())}
    volumes |= {each["metadata"]["name"] for each in claims}
    mounted = {
        each["name"]
        for container in workload.containers
        for each in container.get("volumeMounts", ())
    }
    if volumes != mounted:
        yield f"{workload.name}: volumes and mounts differ by {sorted(volumes ^ mounted)}"


def selectors(rendering: Rendering) -> Iterator[str]:
    """Who selects pods selects some: their maker all of its own, a Service by a port they have."""
    workloads = rendering.workloads()
    for each in workloads:
        selector = each.made_by["spec"].get("selector")
        if selector is not None and not selects(selector, each.labels):
            yield f"{each.name} does not select its own pods"
    for service in rendering.of("Service"):
        found = [each for each in workloads if _takes(service["spec"]["selector"], each)]
        if len(found) != 1:
            yield f"{_called(service)} selects the pods of {[each.name for each in found]}"
        for port in service["spec"]["ports"]:
            if any(port["targetPort"] not in _ports(each) for each in found):
                yield f"{_called(service)}: no port is called {port['targetPort']}"
    for monitor in rendering.of("PodMonitor"):
        found = [each for each in workloads if selects(monitor["spec"]["selector"], each.labels)]
        if {each.component for each in found} != set(ROLES):
            yield f"{_called(monitor)} watches {[each.name for each in found]}"


def _takes(labels: Mapping[str, str], workload: Workload) -> bool:
    return labels.items() <= workload.labels.items()


def _ports(workload: Workload) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in workload.container.get("ports", ())}


def numbers(rendering: Rendering) -> Iterator[str]:
    """Two of everything or more, that machines may go: by an autoscaler, or as the Deployment says,
    never by both; and of each one may be taken away. Said of overlays that have autoscalers."""
    scalers = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]
        for each in rendering.of("HorizontalPodAutoscaler")
    }
    deployments = [each for each in rendering.workloads() if each.made_by["kind"] == "Deployment"]
    if unknown := set(scalers) - {each.made_by["metadata"]["name"] for each in deployments}:
        yield f"nothing is there to be scaled: {sorted(unknown)}"
    for each in deployments if scalers else ():
        spec = each.made_by["spec"]
        scaler = scalers.get(each.made_by["metadata"]["name"])
        if scaler is not None and "replicas" in spec:
            yield f"{each.name}: the number is the autoscaler's to say"
        least = scaler["minReplicas"] if scaler else spec.get("replicas", 1)
        if least < 2:
            yield f"{each.name}: {least} is too few"
        budgets = [
            budget["spec"]["maxUnavailable"]
            for budget in rendering.of("PodDisruptionBudget")
            if selects(budget["spec"]["selector"], each.labels)
        ]
        if budgets != [1]:
            yield f"{each.name}: one may be taken away, not {budgets}"
        if len(each.pod.get("topologySpreadConstraints", ())) != 2:
            yield f"{each.name}: its pods may all be on one machine"


CHECKS: Mapping[str, Callable[[Rendering], Iterator[str]]] = {
    check.__name__: check
    for check in (
        schema, namespaces, hardening, images, references, selectors, numbers,
    )
}  # fmt: skip
__all__ = ["CHECKS", "COMPONENT"]

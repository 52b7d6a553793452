"""The Kubernetes manifests as `kubectl kustomize` renders an overlay, and ways to walk them."""

import copy
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.availability import ROOT, kustomize

FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("dev", "staging", "prod")
ROLES = ("server", "worker", "app")
COMPONENT = "app.kubernetes.io/component"
Object = dict[str, Any]
_POD_PLACES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Workload:
    """What makes pods: the object, and the template of its pods."""

    made_by: Object
    template: Object

    @property
    def name(self) -> str:
        return f"{self.made_by['kind']}/{self.made_by['metadata']['name']}"

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.template["metadata"]["labels"]
        return found

    @property
    def component(self) -> str:
        return self.labels[COMPONENT]

    @property
    def pod(self) -> Object:
        found: Object = self.template["spec"]
        return found

    @property
    def container(self) -> Object:
        """The one that stays; ValueError when there are several."""
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def containers(self) -> list[Object]:
        """Those too that run before it."""
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    def secret_files(self) -> set[str]:
        """The names of the files of the secret `medsage` that its pods are given."""
        return {
            item["path"]
            for volume in self.pod.get("volumes", ())
            if volume.get("secret", {}).get("secretName") == "medsage"
            for item in volume["secret"].get("items", ())
        }


@dataclass(frozen=True)
class Rendering:
    """All objects of an overlay."""

    objects: list[Object]

    def of(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def named(self, kind: str, name: str) -> Object:
        """The object; of a generated ConfigMap the name without what tells its content."""
        (found,) = [
            each
            for each in self.of(kind)
            if each["metadata"]["name"] == name
            or (kind == "ConfigMap" and each["metadata"]["name"].rpartition("-")[0] == name)
        ]
        return found

    def workloads(self) -> list[Workload]:
        return list(self._workloads())

    def _workloads(self) -> Iterator[Workload]:
        for each in self.objects:
            if each["kind"] in _POD_PLACES:
                template = each
                for step in _POD_PLACES[each["kind"]]:
                    template = template[step]
                yield Workload(each, template)

    def workload(self, name: str) -> Workload:
        (found,) = [each for each in self.workloads() if each.name == name]
        return found

    def environment(self, workload: Workload) -> dict[str, str]:
        """The variables that the container gets."""
        found: dict[str, str] = {}
        maps = {each["metadata"]["name"]: each["data"] for each in self.of("ConfigMap")}
        for source in workload.container.get("envFrom", ()):
            found |= maps[source["configMapRef"]["name"]]
        return found | {each["name"]: each["value"] for each in workload.container.get("env", ())}

    def copied(self) -> "Rendering":
        """One that a test may change."""
        return Rendering(copy.deepcopy(self.objects))


@cache
def rendered(overlay: str) -> Rendering:
    """The overlay, rendered once; AssertionError with the tool's words when it can't be."""
    program = kustomize()
    assert program is not None
    command = [program, "kustomize"] if program.endswith("kubectl") else [program, "build"]
    done = subprocess.run(
        [*command, str(FOLDER / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Rendering(list(yaml.safe_load_all(done.stdout)))

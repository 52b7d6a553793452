"""The Kubernetes manifests of every overlay, rendered and held against the schemas of Kubernetes
and against the program. No cluster takes part."""

import re
import shlex
import subprocess

import pytest

from tests import kubernetes_checks, kubernetes_settings
from tests.availability import ROOT
from tests.command_line import assert_command
from tests.kubernetes_rendering import OVERLAYS, ROLES, rendered
from tests.mistaken_kubernetes_settings import MISTAKES

pytestmark = pytest.mark.kustomize

CHECKS = {**kubernetes_checks.CHECKS, **kubernetes_settings.CHECKS}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("check", CHECKS)
def test_the_overlay_holds(overlay: str, check: str) -> None:
    assert list(CHECKS[check](rendered(overlay))) == []


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
        *(f"CronJob/{each}" for each in ("backup", "verify", "beside", "migrate")),
        *(f"CronJob/{each}" for each in ("check", "restore")),
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

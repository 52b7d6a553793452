"""The scripts of the Kubernetes form, with a stand-in for kubectl that writes down what it is
asked."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.availability import ROOT

FOLDER = ROOT / "deploy/kubernetes"
STAND_IN = """#!/bin/sh
echo "$*" >>"$ASKED"
case "$*" in
*"get secret medsage "*) [ -n "$HAS_SECRET" ] ;;
*"get job mongo-init "*) [ -n "$HAS_STORE" ] ;;
*"get job $FAILS"*) echo "FailureTarget Failed" ;;
*"get job "*) echo "SuccessCriteriaMet Complete" ;;
*"logs "*) echo "the words of the job" ;;
*"rollout status deployment/$HANGS "*) false ;;
esac
"""


@dataclass
class Cluster:
    """The stand-in's notes, and how it answers."""

    folder: Path

    def rollout(self, *arguments: str, **answers: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "ASKED": str(self.folder / "asked"),
            "HAS_SECRET": "yes",
            "HAS_STORE": "",
            "FAILS": "none",
            "HANGS": "none",
            **answers,
        }
        return subprocess.run(
            [FOLDER / "rollout.sh", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> list[str]:
        lines = (self.folder / "asked").read_text("utf-8").splitlines()
        return [re.sub(r"-\d{8}-\d{6}", "", line) for line in lines]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "kubectl").write_text(STAND_IN)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "asked").touch()
    return Cluster(tmp_path)


PROD = str(FOLDER / "overlays/prod")


def test_the_store_is_brought_forward_and_looked_at_before_any_part_gets_the_new_version(
    cluster: Cluster,
) -> None:
    done = cluster.rollout(PROD)
    assert done.returncode == 0, done.stderr
    assert "the words of the job" in done.stdout
    steps = [each for each in cluster.asked() if " get " not in f" {each}" and "logs" not in each]
    notin = "app.kubernetes.io/component notin (server,worker,app,nginx)"
    assert steps == [
        f"apply --kustomize {PROD} --selector {notin}",
        "--namespace medsage create job migrate --from=cronjob/migrate",
        "--namespace medsage create job check --from=cronjob/check",
        f"apply --kustomize {PROD}",
        *(
            f"--namespace medsage rollout status deployment/{part} --timeout 600s"
            for part in ("server", "worker", "app", "nginx")
        ),
    ]


def test_a_backup_is_made_first_when_it_is_asked_for(cluster: Cluster) -> None:
    assert cluster.rollout(PROD, "--backup").returncode == 0
    made = [each.split()[-1] for each in cluster.asked() if " create job " in each]
    assert made == [f"--from=cronjob/{each}" for each in ("backup", "migrate", "check")]


def test_the_store_of_the_development_overlay_is_waited_for(cluster: Cluster) -> None:
    assert cluster.rollout(str(FOLDER / "overlays/dev"), HAS_STORE="yes").returncode == 0
    asked = cluster.asked()
    wait = "--namespace medsage-dev wait job/mongo-init --for=condition=complete --timeout 600s"
    assert asked.index(wait) < asked.index(
        "--namespace medsage-dev create job migrate --from=cronjob/migrate"
    )


@pytest.mark.parametrize("job", ["migrate", "check"])
def test_after_a_job_that_failed_nothing_is_rolled_out(cluster: Cluster, job: str) -> None:
    done = cluster.rollout(PROD, FAILS=job)
    assert done.returncode == 1
    assert "the words of the job" in done.stderr
    assert "no part was given the new version" in done.stderr
    assert f"apply --kustomize {PROD}" not in cluster.asked()


def test_a_part_that_does_not_come_up_is_named_with_the_way_back(cluster: Cluster) -> None:
    done = cluster.rollout(PROD, HANGS="worker")
    assert done.returncode == 1
    assert "rollout undo deployment/worker" in done.stderr


def test_without_secrets_or_an_overlay_nothing_is_begun(cluster: Cluster) -> None:
    assert cluster.rollout(PROD, HAS_SECRET="").returncode == 1
    assert cluster.rollout(str(FOLDER)).returncode == 2
    assert cluster.rollout(PROD, "--bakcup").returncode == 1
    assert not [each for each in cluster.asked() if "apply" in each]


def upstreams(resolv: Path) -> subprocess.CompletedProcess[str]:
    script, source = FOLDER / "base/upstreams.sh", ROOT / "deploy/nginx/upstreams.conf"
    return subprocess.run(
        ["sh", script, source, resolv], capture_output=True, text=True, check=False
    )


def test_nginx_looks_for_the_pods_where_the_cluster_says(tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(
        "search medsage.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 10.96.0.10\noptions ndots:5\n"
    )
    text = upstreams(resolv).stdout
    assert re.findall(r"^resolver (\S+) valid", text, re.MULTILINE) == ["10.96.0.10"]
    assert re.findall(r"server (\S+:\d+) resolve", text) == [
        "server-pods.medsage.svc.cluster.local:5000",
        "app-pods.medsage.svc.cluster.local:5000",
    ]


def test_nginx_does_not_start_where_names_are_not_told(tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 10.96.0.10\n")
    done = upstreams(resolv)
    assert (done.returncode, done.stdout) == (1, "")

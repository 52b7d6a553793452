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
*"get job beside"*) [ -n "$BESIDE" ] && echo Failed || echo Complete ;;
*"get pods "*exitCode*) echo "$BESIDE" ;;
*"get deployment "*.spec.replicas*) echo 3 ;;
*"get deployment server "*annotations*) echo "$KEPT" ;;
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
            "BESIDE": "",
            "KEPT": "",
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


JOBS = ("beside", "migrate", "check")
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
        *(f"--namespace medsage create job {each} --from=cronjob/{each}" for each in JOBS),
        f"apply --kustomize {PROD}",
        *(
            f"--namespace medsage rollout status deployment/{part} --timeout 600s"
            for part in ("server", "worker", "app", "nginx")
        ),
    ]


def test_a_backup_is_made_first_when_it_is_asked_for(cluster: Cluster) -> None:
    assert cluster.rollout(PROD, "--backup").returncode == 0
    made = [each.split()[-1] for each in cluster.asked() if " create job " in each]
    assert made == [f"--from=cronjob/{each}" for each in ("backup", *JOBS)]


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


def test_who_can_not_use_the_store_afterwards_is_stopped_before_and_is_as_many_again(
    cluster: Cluster,
) -> None:
    done = cluster.rollout(PROD, BESIDE="10", KEPT="3")
    assert done.returncode == 0, done.stderr
    steps = cluster.asked()
    order = [
        *(f"scale deployment {part} --replicas 0" for part in ("app", "worker", "server")),
        "wait pods --selector app.kubernetes.io/component in (server,worker,app) --for=delete"
        " --timeout 600s",
        "create job migrate --from=cronjob/migrate",
        "scale deployment server --replicas 3",
        "annotate deployment server medsage.example/replicas-",
    ]
    places = [steps.index(f"--namespace medsage {each}") for each in order]
    assert places == sorted(places)
    kept = "--namespace medsage annotate deployment server --overwrite medsage.example/replicas=3"
    assert steps.index(kept) < places[2]
    assert steps.index(f"apply --kustomize {PROD}") < places[-2]


def test_who_was_stopped_by_a_rollout_that_failed_comes_up_with_the_next(cluster: Cluster) -> None:
    failed = cluster.rollout(PROD, BESIDE="10", FAILS="migrate")
    assert (failed.returncode, "are stopped" in failed.stderr) == (1, True)
    assert f"apply --kustomize {PROD}" not in cluster.asked()
    assert cluster.rollout(PROD, KEPT="3").returncode == 0
    assert "--namespace medsage scale deployment server --replicas 3" in cluster.asked()


def test_nothing_is_stopped_when_the_store_can_not_be_asked(cluster: Cluster) -> None:
    for code in ("1", "2", "137"):
        done = cluster.rollout(PROD, BESIDE=code)
        assert (done.returncode, "can't be asked" in done.stderr) == (1, True)
    assert not [each for each in cluster.asked() if "scale" in each or "migrate" in each]


def test_a_look_that_fails_says_how_to_go_on_without_it(cluster: Cluster) -> None:
    assert "--no-check" in cluster.rollout(PROD, FAILS="check").stderr
    assert cluster.rollout(PROD, "--no-check", FAILS="check").returncode == 0


def test_a_part_that_does_not_come_up_is_named_with_the_way_back(cluster: Cluster) -> None:
    done = cluster.rollout(PROD, HANGS="worker")
    assert done.returncode == 1
    assert "worker does not run the new version" in done.stderr
    assert "rollout undo deployment/" in done.stderr


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

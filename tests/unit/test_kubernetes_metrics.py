"""What autoscalers, Prometheus and its operator are told in a cluster, held against each other and
against the configuration of the other forms."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.availability import ROOT
from tests.exposition import selectors
from tests.kubernetes_metrics import adapter_expressions, adapter_rules
from tests.kubernetes_rendering import OVERLAYS, ROLES, rendered

FOLDER = ROOT / "deploy/kubernetes/prometheus"
PROMETHEUS = ROOT / "deploy/prometheus"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", ["staging", "prod"])
def test_autoscalers_ask_for_a_metric_that_the_adapter_makes_and_for_processors(
    overlay: str,
) -> None:
    made = {(each.type, each.name) for each in adapter_rules()}
    asked = set()
    for each in rendered(overlay).of("HorizontalPodAutoscaler"):
        types = [metric["type"] for metric in each["spec"]["metrics"]]
        assert types in (["Pods", "Resource"], ["External", "Resource"]), each["metadata"]["name"]
        for metric in each["spec"]["metrics"]:
            if metric["type"] == "Resource":
                assert metric["resource"]["name"] == "cpu"
            else:
                asked.add((metric["type"], metric[metric["type"].lower()]["metric"]["name"]))
    assert asked == made


def test_the_adapter_reads_the_series_that_it_found() -> None:
    resources = {"namespace", "pod"}
    for rule in adapter_rules():
        (found,) = selectors(rule.series_query)
        (asked,) = selectors(rule.expression())
        chosen = {each for each in found.matchers if each[0] not in resources}
        assert asked.name == found.name
        assert chosen <= set(asked.matchers), rule.name


@pytest.mark.prometheus
def test_promtool_accepts_the_queries_of_the_adapter(tmp_path: Path) -> None:
    rules = [{"record": name, "expr": query} for name, query in adapter_expressions()]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", ["staging", "prod"])
def test_pods_are_scraped_as_the_containers_of_compose_are(overlay: str) -> None:
    whole = read(PROMETHEUS / "prometheus.yml")
    jobs = {each["job_name"]: each for each in whole["scrape_configs"]}
    spec = rendered(overlay).named("PodMonitor", "medsage")["spec"]
    assert spec["jobLabel"] == "app.kubernetes.io/component"
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["interval"] == whole["global"]["scrape_interval"]
    for role in ROLES:
        workload = rendered(overlay).workload(f"Deployment/{role}")
        assert workload.labels[spec["jobLabel"]] == role
        assert endpoint["path"] == jobs[role]["metrics_path"]
        ports = {each["name"]: each["containerPort"] for each in workload.container["ports"]}
        assert ports[endpoint["port"]] == jobs[role]["dns_sd_configs"][0]["port"]


def test_the_alerts_become_rules_of_the_operator_by_the_documented_command() -> None:
    page = (ROOT / "docs/kubernetes.md").read_text("utf-8")
    (line,) = re.findall(r"^(\(cat .*alerts\.yml\)) \|", page, re.MULTILINE)
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    made = yaml.safe_load(done.stdout)
    assert made["spec"] == read(PROMETHEUS / "alerts.yml")
    assert made["kind"] == read(FOLDER / "rules-head.yaml")["kind"] == "PrometheusRule"


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_certificate_is_for_the_public_address(overlay: str) -> None:
    settings = rendered(overlay).named("ConfigMap", "settings")["data"]
    host = settings["MEDSAGE_BASE_URL"].removeprefix("https://").partition(":")[0]
    for certificate in rendered(overlay).of("Certificate"):
        assert certificate["spec"]["dnsNames"] == [host]
        nginx = rendered(overlay).workload("Deployment/nginx").pod
        secrets = {each["secret"]["secretName"] for each in nginx["volumes"] if "secret" in each}
        assert secrets == {certificate["spec"]["secretName"]}

"""Prometheus and Alertmanager with the shipped files, pointed at the parts of a shape."""

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.processes.plan import NoShape, Plan

_SHIPPED = Path("deploy/prometheus")
_DISCOVERY = re.compile(r"dns_sd_configs: \[\{names: \[(\w+)\][^\]]*\}\]")
_SECONDS = 5.0


def prometheus(plan: Plan, port: int, code: Path) -> list[str]:
    """Writes its files and gives what starts it."""
    own = plan.own("prometheus")
    own.mkdir(parents=True, exist_ok=True)
    text = (code / _SHIPPED / "prometheus.yml").read_text("utf-8")
    text, found = _DISCOVERY.subn(
        lambda each: f"file_sd_configs: [{{files: [{own}/{each[1]}.json], refresh_interval: 10s}}]",
        text,
    )
    alertmanager_port = plan.watching_slot("alertmanager").ports[0]
    here = {
        '"127.0.0.1:9090"': f'"127.0.0.1:{port}"',
        '"alertmanager:9093"': f'"127.0.0.1:{alertmanager_port}"',
    }
    if not found or any(each not in text for each in here):
        raise NoShape(f"{_SHIPPED}/prometheus.yml names its targets in another way than this reads")
    for old, new in here.items():
        text = text.replace(old, new)
    (own / "prometheus.yml").write_text(text, "utf-8")
    shutil.copyfile(code / _SHIPPED / "alerts.yml", own / "alerts.yml")
    return [
        _program("prometheus", "prometheus"),
        f"--config.file={own}/prometheus.yml",
        f"--storage.tsdb.path={own}/data",
        "--storage.tsdb.retention.time=30d",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def alertmanager(plan: Plan, port: int, code: Path) -> list[str]:
    """Writes its files and gives what starts it."""
    own = plan.own("alertmanager")
    own.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(code / _SHIPPED / "alertmanager.yml", own / "alertmanager.yml")
    return [
        _program("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager"),
        f"--config.file={own}/alertmanager.yml",
        f"--storage.path={own}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]


def write_targets(plan: Plan, ports: Mapping[str, Sequence[int]]) -> None:
    """Tell Prometheus where the roles listen now; it reads the files by itself."""
    own = plan.own("prometheus")
    own.mkdir(parents=True, exist_ok=True)
    for role, listening in ports.items():
        draft = own / f".{role}.json.new"
        draft.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}" for port in listening]}]))
        draft.replace(own / f"{role}.json")


def targets(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Job, address and health (up, down, unknown) of each target, as Prometheus sees them."""
    port = plan.watching_slot("prometheus").ports[0]
    url = f"http://127.0.0.1:{port}/api/v1/targets?state=active"
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["activeTargets"]
    for each in sorted(found, key=lambda one: (one["labels"]["job"], one["labels"]["instance"])):
        yield each["labels"]["job"], each["labels"]["instance"], each["health"]


def _program(package: str, *names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NoShape(f"{names[-1]} is not installed (Debian's package {package})")
    return found

"""A real Prometheus and a real Alertmanager with the shipped rules, and who listens to them."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from bench.alerts.shipped import routes, rules
from bench.running import DidNotStart, free_port, stop

PROGRAMS = ("prometheus", "prometheus-alertmanager")
"""Of Debian's packages `prometheus` and `prometheus-alertmanager`."""
SCRAPE_SECONDS = 120.0
"""Divided by the factor: the shortest window, five minutes, then holds two scrapes and a half."""
EVALUATION_SECONDS = 30.0
"""Divided by the factor."""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Notice:
    """One alert in one message of Alertmanager to a receiver, `at` a moment of the monotonic
    clock; `status` is firing or resolved."""

    receiver: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    at: float


@dataclass(frozen=True)
class Watch:
    """The two programs at work. `notices` grows; `folder` holds who is looked at."""

    folder: Path
    notices: list[Notice] = field(default_factory=list)

    def look_at(self, job: str, targets: Sequence[str]) -> None:
        """From now on these addresses, and no others, are the job's processes."""
        file = self.folder / f"targets-{job}.json"
        made = file.with_suffix(".new")
        made.write_text(json.dumps([{"targets": list(targets)}] if targets else []))
        made.replace(file)

    def told(
        self, labels: Mapping[str, str], status: str, receivers: frozenset[str], since: float
    ) -> Notice | None:
        """The message by which the last of the receivers had heard of this alert; None as long as
        one of them has not."""
        first: dict[str, Notice] = {}
        for each in list(self.notices):
            is_it = each.status == status and labels.items() <= each.labels.items()
            if is_it and each.at >= since:
                first.setdefault(each.receiver, each)
        if not receivers <= first.keys():
            return None
        return max((first[name] for name in receivers), key=lambda notice: notice.at)

    def firing(self) -> set[str]:
        """The names of alerts of which the last that was heard is that they fire."""
        last = {(each.receiver, *sorted(each.labels.items())): each for each in list(self.notices)}
        return {each.labels["alertname"] for each in last.values() if each.status == "firing"}


@contextmanager
def watching(folder: Path, jobs: Mapping[str, Sequence[str]], factor: int) -> Iterator[Watch]:
    """The programs with their files in `folder`, looking at `jobs` (addresses by name); stopped
    at the end. DidNotStart when one is not installed or does not answer."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise DidNotStart(f"{program} is not on the PATH")
    folder.mkdir(parents=True)
    watch = Watch(folder)
    for job, targets in jobs.items():
        watch.look_at(job, targets)
    at_prometheus, at_alertmanager = free_port(), free_port()
    with _listening(watch.notices) as origin:
        (folder / "alerts.yml").write_text(rules(factor))
        (folder / "alertmanager.yml").write_text(routes(factor, origin))
        (folder / "prometheus.yml").write_text(_configuration(list(jobs), at_alertmanager, factor))
        with (
            _running(folder, _alertmanager(at_alertmanager), at_alertmanager),
            _running(folder, _prometheus(at_prometheus, factor), at_prometheus),
        ):
            yield watch


def _configuration(jobs: Sequence[str], alertmanager: int, factor: int) -> str:
    every = f"{int(SCRAPE_SECONDS * 1000) // factor}ms"
    evaluated = f"{int(EVALUATION_SECONDS * 1000) // factor}ms"
    made = {
        "global": {"scrape_interval": every, "evaluation_interval": evaluated},
        "rule_files": ["alerts.yml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        },
        "scrape_configs": [
            {
                "job_name": job,
                "metrics_path": "/api/metrics",
                "scrape_timeout": every,
                "file_sd_configs": [{"files": [f"targets-{job}.json"], "refresh_interval": "1s"}],
            }
            for job in jobs
        ],
    }
    return yaml.safe_dump(made, sort_keys=False)


def _alertmanager(port: int) -> list[str]:
    return [
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        "--storage.path=alertmanager",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]


def _prometheus(port: int, factor: int) -> list[str]:
    return [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        # A minute, in operation.
        f"--rules.alert.resend-delay={60_000 // factor}ms",
    ]


@contextmanager
def _running(folder: Path, command: Sequence[str], port: int) -> Iterator[None]:
    log = folder / f"{command[0]}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=folder, stdout=written, stderr=written)
    try:
        _await_ready(process, port, log)
        yield
    finally:
        stop(process, _STOP_SECONDS)


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with (
            suppress(OSError, URLError),
            urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5),
        ):
            return
        time.sleep(0.05)
    raise DidNotStart(log.read_text(errors="replace")[-2000:])


@contextmanager
def _listening(notices: list[Notice]) -> Iterator[str]:
    """Takes Alertmanager's messages; the origin that it sends them to."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            at = time.monotonic()
            receiver = self.path.strip("/")
            notices.extend(
                Notice(receiver, each["status"], each["labels"], each["annotations"], at)
                for each in body["alerts"]
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()

"""Alerts that are set off reach who must be told, through a real Prometheus and Alertmanager with
the shipped rules and routes; `medsage bench proof-alerts` does the same to a whole installation."""

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from bench.alerts.causes import WAVES
from bench.alerts.shipped import RULES, faster, receivers_of, routes, rules, shipped_rule
from bench.alerts.watchers import Notice, Watch, watching
from bench.running import free_port
from deploy.health import Readiness
from deploy.monitoring.process import ProcessFacts
from fhir_server.settings import Settings

FACTOR = 240
PATIENCE_SECONDS = 60.0


def test_durations_and_ages_are_divided_and_nothing_else() -> None:
    rule = """
        expr: max(medsage_audit_waiting_seconds) > 600 and rate(failures[5m]) > 0.5
        for: 1h
    """
    assert faster(rule, 60) == (
        """
        expr: max(medsage_audit_waiting_seconds) > 10 and rate(failures[5000ms]) > 0.5
        for: 60000ms
    """
    )
    shipped, made = RULES.read_text("utf-8"), rules(60)
    assert len(re.findall(r"\[\d+ms\]", made)) == len(re.findall(r"\[\d+[smhd]\]", shipped))
    without = [re.sub(r"\d+(ms|[smhd])?\b|\.\d+", "", text) for text in (shipped, made)]
    assert without[0] == without[1]


def test_the_routes_tell_the_same_people_at_an_address_of_the_proof() -> None:
    made = yaml.safe_load(routes(60, "http://127.0.0.1:1"))
    assert made["route"]["routes"][0]["receiver"] == "on-call"
    assert {each["webhook_configs"][0]["url"] for each in made["receivers"]} == {
        f"http://127.0.0.1:1/{name}"
        for name in ("on-call", "operations", "security", "clinical-ai", "integrations")
    }


def test_the_proof_causes_more_than_ten_alerts_that_are_shipped() -> None:
    caused = {alert for wave in WAVES for cause in wave for alert in cause.alerts}
    assert len(caused) >= 15
    for alert in caused:
        assert shipped_rule(alert)["alert"] == alert
    for wave in WAVES:
        alerts = [alert for cause in wave for alert in cause.alerts]
        assert len(alerts) == len(set(alerts)), "two causes at once must not set off the same"


@contextmanager
def told_at(port: int, registry: CollectorRegistry, readiness: Readiness) -> Iterator[None]:
    """A process' metrics at a port."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asyncio.run(readiness.problems())
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            with suppress(BrokenPipeError):  # a scrape that took too long
                self.wfile.write(generate_latest(registry))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Metrics)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(watch: Watch, labels: Mapping[str, str], status: str, since: float) -> Notice:
    receivers = receivers_of(shipped_rule(labels["alertname"]))
    while time.monotonic() < since + PATIENCE_SECONDS:
        if notice := watch.told(labels, status, receivers, since):
            return notice
        time.sleep(0.05)
    raise AssertionError(f"{labels} is not {status}: {watch.notices}")


@pytest.mark.prometheus
@pytest.mark.alertmanager
def test_what_does_not_work_or_answer_is_told_to_who_is_on_call_until_it_does(
    tmp_path: Path,
) -> None:
    is_gone = True

    async def check() -> None:
        if is_gone:
            raise ConnectionError("a text that nobody must read")

    readiness = Readiness({"store": check}, 0.0)
    registry = CollectorRegistry()
    registry.register(ProcessFacts(Settings(data=tmp_path), readiness))
    ports = {"server": free_port(), "worker": free_port(), "app": free_port()}
    jobs = {job: [f"127.0.0.1:{port}"] for job, port in ports.items()}
    not_ready = {"alertname": "NotReady", "job": "server", "check": "store"}
    down = {"alertname": "RoleDown", "job": "app"}
    began = time.monotonic()
    with (
        told_at(ports["server"], registry, readiness),
        told_at(ports["worker"], CollectorRegistry(), readiness),
        watching(tmp_path / "watch", jobs, FACTOR) as watch,
    ):
        for labels in (not_ready, down):
            notice = told(watch, labels, "firing", began)
            rule = shipped_rule(labels["alertname"])
            assert notice.labels["severity"] == rule["labels"]["severity"] == "page"
            assert notice.annotations["runbook"] == rule["annotations"]["runbook"]
        mended, is_gone = time.monotonic(), False
        with told_at(ports["app"], CollectorRegistry(), readiness):
            for labels in (not_ready, down):
                told(watch, labels, "resolved", mended)
        assert watch.firing() <= {"BackupAbsent"}
        assert {each.receiver for each in watch.notices} == {"on-call", "operations"}

"""What is measured, logged and traced, that it names nobody; alerts, routes, dashboards and
runbooks speak of what a running server exposes."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import certificates, observed
from deploy.monitoring.backups import LATE_INTERVALS
from deploy.monitoring.boards import BOARDS
from deploy.monitoring.dashboards import written
from fhir_server.audit.kinds import KINDS
from fhir_server.fhir.definitions import resource_types
from fhir_server.rest.routes import BY_INTERACTION
from fhir_server.rest.type_classes import CLASS_OF, CLASSES, class_of
from fhir_server.security.authorization import metrics as authorization
from fhir_server.storage import measured
from fhir_server.subscriptions import metrics as subscriptions
from models.malaria.reading import CellAnswer, SmearAnswer
from models.monitoring import drift_metrics
from models.monitoring.limits import FIGURES
from models.symptoms import usage
from models.symptoms.grounding import Fate
from models.symptoms.port import Urgency
from tests.availability import ROOT
from tests.exposition import (
    CALLER,
    LANGUAGE_MODEL,
    PEOPLES,
    TRACE,
    Sample,
    Told,
    busy_session,
    groupings,
    samples_of,
    selectors,
)
from tests.kubernetes_metrics import adapter_expressions
from tests.otlp_double import Collector, Received

FOLDER = ROOT / "deploy/prometheus"
GIVEN_BY_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
SERVER = 2
"""The kind of a span that answers, in OTLP."""
TARGET = {"job", "instance"}
"""The labels that scraping adds to every series."""
STATUSES = frozenset(map(str, range(100, 600)))
CHECKS = frozenset(
    {"store", "background", "redis"}
    | {
        "size",
        "pixels",
        "type",
        "content-type",
        "corrupt",
        "animated",
        "dimensions",
        "blank",
        "exposure",
        "contrast",
        "focus",
        "stain",
        "not-a-smear",
        "no-cells",
        "repeated",
        "no-cell-read",
        "cut-off",
        "cell-shape",
        "not-a-red-cell",
        "unlike-training",
    }
)
ALLOWED: dict[str, frozenset[str]] = {
    "interaction": frozenset(BY_INTERACTION) | frozenset(KINDS),
    "type_class": CLASSES,
    "status": STATUSES | frozenset(observed.STATUSES),
    "part": frozenset({"fhir", "auth", "app", "ehr", "other"}),
    "method": frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"]),
    "operation": measured.OPERATIONS,
    "reason": measured.REASONS,
    "pool": frozenset({"read", "write", "connections"}),
    "grant": authorization.GRANTS | {"other"},
    "outcome": authorization.ERRORS
    | subscriptions.OUTCOMES
    | {"issued", "other", "completed", "failed", "by-another", "left"}
    | {each.value for each in usage.Outcome},
    "direction": frozenset(usage.DIRECTIONS),
    "fate": frozenset(each.value for each in Fate),
    "figure": frozenset(FIGURES),
    "verdict": frozenset(drift_metrics.VERDICTS),
    "task": frozenset(observed.JOBS),
    "job": frozenset({"server", "worker", "app"}),
    "model": frozenset({"malaria-smear", "symptoms", "malaria-cell", LANGUAGE_MODEL}),
    "answer": frozenset(each.value for each in (*SmearAnswer, *CellAnswer))
    | {each.code for each in Urgency},
    "check": CHECKS,
    "certificate": certificates.NAMES,
    "role": frozenset({"all", "server", "worker", "app"}),
    "profile": frozenset({"dev", "staging", "prod"}),
    "alertstate": frozenset({"firing"}),
}
NUMBERS = frozenset({"le", "version"})
NUMBER = re.compile(r"[\d.]+(e[+-]?\d+)?|\+Inf")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What one whole service told of its session."""
    return busy_session(tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="module")
def exposition(session: Told) -> str:
    """The answer of `/api/metrics`."""
    return session.exposition


@pytest.fixture(scope="module")
def traces(session: Told) -> Collector:
    """What was sent to the receiver of traces."""
    assert session.traces is not None
    return session.traces


@pytest.fixture(scope="module")
def told(exposition: str) -> list[Sample]:
    return samples_of(exposition)


def values_of(told: list[Sample], label: str) -> Iterator[str]:
    return (sample.labels[label] for sample in told if label in sample.labels)


def test_no_label_has_a_value_beyond_the_list(told: list[Sample]) -> None:
    beyond = {
        (sample.name, label, value)
        for sample in told
        for label, value in sample.labels.items()
        if not (
            NUMBER.fullmatch(value)
            if label in NUMBERS
            else value in ALLOWED.get(label, frozenset())
        )
    }
    assert beyond == set()


def test_no_label_is_one_that_prometheus_gives_itself(told: list[Sample]) -> None:
    # It would be renamed to `exported_job`, and every expression with it would find nothing.
    assert [sample.name for sample in told if TARGET & sample.labels.keys()] == []


def test_nothing_of_the_session_stands_in_the_metrics(exposition: str) -> None:
    assert [word for word in PEOPLES if word.lower() in exposition.lower()] == []


def test_a_log_line_is_json_and_says_request_trace_and_tenant(session: Told) -> None:
    lines = [json.loads(line) for line in session.log.splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*map(set, lines))
    (asked,) = (
        line
        for line in lines
        if line.get("request_id") == "asked-1" and line["logger"] == "medsage.requests"
    )
    assert (asked["trace_id"], asked["level"]) == (TRACE, "debug")
    assert {line["tenant"] for line in lines if "tenant" in line} == {"default"}


def test_nothing_of_the_session_stands_in_the_log(session: Told) -> None:
    words = (*PEOPLES, "ward-1", "imageUpload", "family=", "Bearer ")
    assert [word for word in words if word.lower() in session.log.lower()] == []


@pytest.mark.tracing
def test_an_analysis_is_one_trace_from_the_request_to_the_model(traces: Collector) -> None:
    spans = traces.of_trace(TRACE)
    by_id = {span.id: span for span in spans}

    def above(span: Received) -> list[str]:
        found = by_id.get(span.parent)
        return [] if found is None else [found.name, *above(found)]

    (order,) = (span for span in spans if span.name == "POST /api/diagnose")
    assert order.parent == CALLER
    assert order.attributes["http.response.status_code"] == 200
    stored = [span for span in spans if span.name == "store transaction"]
    assert any("POST /fhir" in above(span) for span in stored)
    (analysis,) = (span for span in spans if span.name == "analysis")
    assert "POST /api/diagnose" in above(analysis)
    for model in ("model malaria-smear", "model symptoms"):
        (said,) = (span for span in spans if span.name == model)
        assert above(said)[0] == "analysis"
    assert any(span.name == "GET /fhir/{type}" and span.parent == CALLER for span in spans)
    assert {span.service for span in spans} == {"medsage-all"}


@pytest.mark.tracing
def test_what_calls_somebody_hands_its_trace_on(traces: Collector) -> None:
    by_id = {span.id: span for span in traces.spans}
    called = [span for span in traces.of_trace(TRACE) if span.name == "POST /fhir"]
    assert called
    assert {by_id[span.parent].name for span in called} == {"POST"}
    delivered = [span for span in traces.spans if span.name == "subscription delivery"]
    assert {span.attributes["medsage.delivered"] for span in delivered} >= {False}
    assert {by_id[span.parent].name for span in traces.spans if span.name == "POST"} >= {
        "analysis",
        "subscription delivery",
    }


@pytest.mark.tracing
def test_no_span_tells_anything_of_the_session(traces: Collector) -> None:
    content = bytes(traces.content).decode("latin-1").lower()
    words = (*PEOPLES, "ward-1", "family", "198.51", "192.0.2.7", "asked-1", "127.0.0.1:9")
    assert [word for word in words if word.lower() in content] == []
    attributes = {name for span in traces.spans for name in span.attributes}
    assert attributes == {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "db.operation.name",
        "error.type",
        "medsage.delivered",
    }
    routes = {span.attributes["http.route"] for span in traces.spans if span.kind == SERVER}
    assert {"/fhir/{type}/{id}", "/fhir/{type}/{id}/_history/{version}", "/auth/token"} <= routes
    assert "unknown" in routes


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (
            "medsage_fhir_requests_total",
            {"interaction": "create", "type_class": "base", "status": "201"},
        ),
        ("medsage_fhir_requests_total", {"interaction": "read", "status": "404"}),
        ("medsage_fhir_requests_total", {"interaction": "search-type", "status": "401"}),
        ("medsage_fhir_request_seconds_count", {"interaction": "vread", "type_class": "base"}),
        ("medsage_http_requests_total", {"part": "app", "status": "200"}),
        ("medsage_http_requests_total", {"part": "other", "status": "404"}),
        ("medsage_store_seconds_count", {"operation": "transaction"}),
        ("medsage_store_pool_limit", {"pool": "write"}),
        ("medsage_tokens_total", {"grant": "client_credentials", "outcome": "issued"}),
        ("medsage_tokens_total", {"grant": "authorization_code", "outcome": "invalid_client"}),
        ("medsage_tokens_total", {"grant": "other", "outcome": "invalid_client"}),
        ("medsage_sign_ins_total", {}),
        ("medsage_authorization_refusals_total", {"interaction": "login"}),
        ("medsage_subscription_attempts_total", {"outcome": "taken"}),
        ("medsage_subscription_attempts_total", {"outcome": "unreachable"}),
        ("medsage_subscription_delivery_seconds_count", {}),
        ("medsage_subscription_waiting", {}),
        ("medsage_subscription_waiting_seconds", {}),
        ("medsage_model_answers_total", {"model": "symptoms"}),
        ("medsage_model_answers_total", {"model": "malaria-smear", "answer": "refused"}),
        ("medsage_model_refusals_total", {"check": "not-a-smear"}),
        ("medsage_model_cell_probability_count", {}),
        ("medsage_language_model_questions_total", {"outcome": "failed"}),
        ("medsage_tasks_ended_total", {"outcome": "completed"}),
        ("medsage_task_turnaround_seconds_count", {}),
        ("medsage_ready", {"check": "store"}),
        ("medsage_store_observed", {}),
        ("medsage_certificate_not_after_timestamp_seconds", {"certificate": "authority"}),
    ],
)
def test_the_session_was_counted(told: list[Sample], name: str, labels: dict[str, str]) -> None:
    found = [
        sample.value
        for sample in told
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, sorted({sample.name for sample in told})
    assert sum(found) > 0, (name, labels)


def test_every_resource_type_of_r4_has_its_class() -> None:
    assert frozenset(CLASS_OF) == frozenset(resource_types())
    assert class_of(PEOPLES[0]) == "system"


@cache
def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text("utf-8"))
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


EXPRESSIONS = [
    *((name, rule["expr"]) for name, rule in rules().items()),
    *panels(),
    *adapter_expressions(),
]


@pytest.mark.parametrize(
    ("place", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS]
)
def test_every_expression_asks_for_series_that_are_exposed(
    told: list[Sample], place: str, expression: str
) -> None:
    labels: dict[str, set[str]] = {name: set(given) for name, given in GIVEN_BY_PROMETHEUS.items()}
    known = {**ALLOWED, **{label: frozenset(values_of(told, label)) for label in NUMBERS}}
    for sample in told:
        labels.setdefault(sample.name, set(TARGET)).update(sample.labels)
    asked = list(selectors(expression))
    assert asked
    for each in asked:
        assert each.name in labels, each.name
        for label, operator, value in each.matchers:
            assert label in labels[each.name], f"{each.name} has no {label}"
            wanted = value.split("|") if operator in ("=~", "!~") else [value]
            for word in wanted:
                assert any(re.fullmatch(word, each) for each in known[label]), word
    assert groupings(expression) <= set().union(*(labels[each.name] for each in asked))


@pytest.mark.parametrize(
    "expression",
    [
        'rate(medsage_nothing_total{status="200"}[5m])',
        'medsage_ready{chek="store"} == 0',
        'rate(medsage_tokens_total{outcome="isued"}[5m])',
        "sum by (interacton) (rate(medsage_fhir_requests_total[5m]))",
    ],
)
def test_a_misspelt_expression_is_found(told: list[Sample], expression: str) -> None:
    with pytest.raises(AssertionError):
        test_every_expression_asks_for_series_that_are_exposed(told, "", expression)


def test_the_dashboards_are_those_of_the_tables() -> None:
    folder = ROOT / "deploy/grafana/dashboards"
    assert {path.stem for path in folder.glob("*.json")} == set(BOARDS)
    for name in BOARDS:
        assert (folder / f"{name}.json").read_text("utf-8") == written(name)


def page_of(alert: str) -> Path:
    return ROOT / f"docs/runbooks/{re.sub('(?<!^)(?=[A-Z])', '-', alert).lower()}.md"


@pytest.mark.parametrize("alert", rules())
def test_every_alert_has_its_page_its_team_and_its_severity(alert: str) -> None:
    rule = rules()[alert]
    severity, team = rule["labels"]["severity"], rule["labels"]["team"]
    page = page_of(alert)
    text = page.read_text("utf-8")
    assert rule["annotations"]["runbook"] == str(page.relative_to(ROOT))
    assert text.startswith(f"# {alert}\n\n`{severity}` ")
    assert f"team `{team}`" in text
    for heading in ("## What it means", "## Look", "## Do"):
        assert heading in text
    row = f"| [{alert}]({page.name}) | .* | {severity}, {team} |"
    listed = (page.parent / "README.md").read_text("utf-8")
    assert re.search(re.escape(row).replace(r"\.\*", ".*"), listed), row


def test_no_page_speaks_of_an_alert_that_does_not_exist() -> None:
    of_alerts = {page_of(alert).name for alert in rules()}
    others = {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - of_alerts
    assert others == {"README.md"}


def test_the_status_page_names_pages_that_exist() -> None:
    text = (ROOT / "deploy/monitoring/status.py").read_text("utf-8")
    named = set(re.findall(r"\{_RUNBOOKS\}/([\w-]+)\.md", text))
    named |= set(re.findall(r'"((?:[a-z]+-)+[a-z]+)"\)', text))
    assert {"subscription-lag", "store-failing"} <= named
    assert [each for each in named if not (ROOT / f"docs/runbooks/{each}.md").exists()] == []


def test_every_alert_is_tried_firing_and_quiet() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    tried = [case for test in tests for case in test["alert_rule_test"]]
    for alert in rules():
        outcomes = {bool(case["exp_alerts"]) for case in tried if case["alertname"] == alert}
        assert outcomes == {True, False}, alert


def test_the_alert_and_the_status_page_call_the_same_backup_old() -> None:
    expected = f"> {LATE_INTERVALS} * max(medsage_backup_interval_seconds)"
    assert " ".join(rules()["BackupOld"]["expr"].split()).endswith(expected)


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration_and_the_alerts_fire_as_written() -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.alertmanager
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page team=operations", "on-call,operations"),
        ("severity=page team=clinical-ai", "on-call,clinical-ai"),
        ("severity=ticket team=clinical-ai", "clinical-ai"),
        ("severity=ticket team=security", "security"),
        ("severity=ticket team=integrations", "integrations"),
        ("severity=ticket team=nobody", "operations"),
    ],
)
def test_an_alert_reaches_whom_it_concerns(labels: str, receivers: str) -> None:
    command = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml"]
    done = subprocess.run([*command, *labels.split()], cwd=FOLDER, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, receivers), done.stderr


@pytest.mark.alertmanager
def test_amtool_accepts_the_configuration() -> None:
    command = ["amtool", "check-config", "alertmanager.yml"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_team_has_a_receiver_and_every_inhibition_names_alerts() -> None:
    routes = yaml.safe_load((FOLDER / "alertmanager.yml").read_text("utf-8"))
    receivers = {each["name"] for each in routes["receivers"]}
    assert {rule["labels"]["team"] for rule in rules().values()} | {"on-call"} == receivers
    for rule in routes["inhibit_rules"]:
        named = " ".join([*rule["source_matchers"], *rule["target_matchers"]])
        for word in re.findall(r"\b[A-Z]\w+", named):
            assert word in rules(), word

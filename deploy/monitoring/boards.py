"""The dashboards as tables: what each panel shows, in whose words, and what it asks Prometheus.

`python -m deploy.monitoring.dashboards` writes them to `deploy/grafana/dashboards`.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Panel(NamedTuple):
    """One panel. `queries` are expressions and the legend of their series; `unit` is Grafana's
    name of it; `kind` a curve (timeseries), a number (stat) or a picture of a histogram
    (heatmap)."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


class Board(NamedTuple):
    """One dashboard, for somebody."""

    title: str
    panels: tuple[Panel, ...]


def _rate(series: str, by: str = "") -> str:
    summed = f"sum by ({by})" if by else "sum"
    return f"{summed} (rate({series}[5m]))"


def _quantile(share: float, series: str, by: str = "") -> str:
    grouped = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, {_rate(f'{series}_bucket', grouped)})"


_FAILED = 'medsage_fhir_requests_total{status=~"5.."}'
_SERVICE = Board(
    "MedSAGE: service",
    (
        Panel(
            "Roles",
            "Whether each process answers its metrics.",
            "bool_on_off",
            (('up{job=~"server|worker|app"}', "{{job}} {{instance}}"),),
            "stat",
        ),
        Panel(
            "Alerts",
            "Alerts that fire now.",
            "short",
            (('count(ALERTS{alertstate="firing"}) or vector(0)', "firing"),),
            "stat",
        ),
        Panel(
            "FHIR requests",
            "Answered each second, by interaction.",
            "reqps",
            ((_rate("medsage_fhir_requests_total", "interaction"), "{{interaction}}"),),
        ),
        Panel(
            "FHIR failures",
            "Share of answers that are 5xx; the aim is below 0.1 %.",
            "percentunit",
            (
                (
                    f"({_rate(_FAILED)} or vector(0))"
                    + " / "
                    + _rate("medsage_fhir_requests_total"),
                    "5xx",
                ),
            ),
        ),
        Panel(
            "FHIR time, 95 %",
            "Nineteen of twenty requests are answered within this.",
            "s",
            (
                (
                    _quantile(0.95, "medsage_fhir_request_seconds", "interaction"),
                    "{{interaction}}",
                ),
            ),
        ),
        Panel(
            "By class of resource",
            "FHIR requests by R4's categories of resource types.",
            "reqps",
            ((_rate("medsage_fhir_requests_total", "type_class"), "{{type_class}}"),),
        ),
        Panel(
            "Pages and API",
            "Requests to each part of the service, by status.",
            "reqps",
            ((_rate("medsage_http_requests_total", "part, status"), "{{part}} {{status}}"),),
        ),
        Panel(
            "Time to the head of the answer, 95 %",
            "By part of the service, pages among them.",
            "s",
            ((_quantile(0.95, "medsage_http_request_seconds", "part"), "{{part}}"),),
        ),
        Panel(
            "Store, time 95 %",
            "By operation, waiting included.",
            "s",
            ((_quantile(0.95, "medsage_store_seconds", "operation"), "{{operation}}"),),
        ),
        Panel(
            "Store, failures",
            "Conflicts are two who wrote at once, and are tried again.",
            "ops",
            ((_rate("medsage_store_failures_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "Store, pools",
            "Requests at work and waiting, by pool.",
            "short",
            (
                ("sum by (pool) (medsage_store_pool_busy)", "{{pool}} busy"),
                ("sum by (pool) (medsage_store_pool_waiting)", "{{pool}} waiting"),
                ("max by (pool) (medsage_store_pool_limit)", "{{pool}} limit"),
            ),
        ),
        Panel(
            "Parts that do not work",
            "Checks of readiness that fail.",
            "short",
            (("count by (check) (medsage_ready == 0) or vector(0)", "{{check}}"),),
        ),
        Panel(
            "Memory",
            "Resident, by process.",
            "bytes",
            (('process_resident_memory_bytes{job=~"server|worker|app"}', "{{job}} {{instance}}"),),
        ),
        Panel(
            "Processors",
            "Seconds of processor in a second, by process.",
            "short",
            (
                (
                    'rate(process_cpu_seconds_total{job=~"server|worker|app"}[5m])',
                    "{{job}} {{instance}}",
                ),
            ),
        ),
        Panel(
            "Disk",
            "Share that is free on the disk of the data folder.",
            "percentunit",
            (("min(medsage_disk_free_bytes / medsage_disk_size_bytes)", "free"),),
        ),
        Panel(
            "Certificates",
            "Time that is left.",
            "s",
            (
                (
                    "min by (certificate) "
                    "(medsage_certificate_not_after_timestamp_seconds) - time()",
                    "{{certificate}}",
                ),
            ),
        ),
        Panel(
            "Versions",
            "Processes by version: more than one only during an upgrade.",
            "short",
            (("count by (version, role) (medsage_build_info)", "{{version}} {{role}}"),),
            "stat",
        ),
    ),
)
_LANGUAGE_MODEL = (
    Panel(
        "Language model, circuit",
        "0 it is asked, 1 it is tried again, 2 it is left alone and the rules answer.",
        "short",
        (("max by (model) (medsage_language_model_circuit)", "{{model}}"),),
        "stat",
    ),
    Panel(
        "Language model, questions",
        "An hour, by how they ended; all but answered and cached leave the rules alone.",
        "short",
        (
            (
                "sum by (outcome) (increase(medsage_language_model_questions_total[1h]))",
                "{{outcome}}",
            ),
        ),
    ),
    Panel(
        "Language model, sentences dropped",
        "A day, by why: what no fact of the chart stands behind is not shown.",
        "short",
        (
            (
                "sum by (fate) "
                '(increase(medsage_language_model_sentences_total{fate!="kept"}[1d]))',
                "{{fate}}",
            ),
        ),
    ),
    Panel(
        "Language model, tokens",
        "An hour, as the provider counts them.",
        "short",
        (
            (
                "sum by (direction) (increase(medsage_language_model_tokens_total[1h]))",
                "{{direction}}",
            ),
        ),
    ),
    Panel(
        "Language model, cost",
        "US dollars a day, by the prices that are set; 0 without prices.",
        "currencyUSD",
        (
            (
                "sum by (model) (increase(medsage_language_model_cost_dollars_total[1d]))",
                "{{model}}",
            ),
        ),
    ),
    Panel(
        "Language model, time 95 %",
        "Time that the provider took.",
        "s",
        ((_quantile(0.95, "medsage_language_model_seconds", "model"), "{{model}}"),),
    ),
)
_CLINICAL_AI = Board(
    "MedSAGE: clinical AI",
    (
        Panel(
            "Analyses that wait",
            "Ordered and not begun, and at work.",
            "short",
            (
                (
                    'max by (status) (medsage_tasks_waiting{task="analysis"})',
                    "{{status}}",
                ),
            ),
        ),
        Panel(
            "Oldest analysis",
            "Since it was ordered, or was last taken up.",
            "s",
            (
                (
                    'max by (status) (medsage_tasks_waiting_seconds{task="analysis"})',
                    "{{status}}",
                ),
            ),
        ),
        Panel(
            "Analyses ended",
            "An hour, by outcome; `left` is tried again after its lease.",
            "short",
            (("sum by (outcome) (increase(medsage_tasks_ended_total[1h]))", "{{outcome}}"),),
        ),
        Panel(
            "From order to end",
            "Half and nineteen of twenty analyses are done within this.",
            "s",
            (
                (_quantile(0.5, "medsage_task_turnaround_seconds"), "50 %"),
                (_quantile(0.95, "medsage_task_turnaround_seconds"), "95 %"),
            ),
        ),
        Panel(
            "Answers",
            "A day, by model. No answer says that there is no malaria.",
            "short",
            (
                (
                    "sum by (model, answer) (increase(medsage_model_answers_total[1d]))",
                    "{{model}} {{answer}}",
                ),
            ),
        ),
        Panel(
            "Refusals",
            "A day: images and cells that were not read, by the check that failed.",
            "short",
            (("sum by (check) (increase(medsage_model_refusals_total[1d]))", "{{check}}"),),
        ),
        Panel(
            "Held",
            "Sites at which a model answers nothing until somebody releases it.",
            "short",
            (("max(medsage_ai_readings_held)", "sites"),),
            "stat",
        ),
        Panel(
            "Scores of cells",
            "Calibrated probability of a parasite: most of it belongs near 0 or near 1.",
            "short",
            (("sum by (le) (increase(medsage_model_cell_probability_bucket[6h]))", "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "Distance from the training cells",
            "What moves up here looks less and less like what the model was trained on.",
            "short",
            (("sum by (le) (increase(medsage_model_cell_distance_bucket[6h]))", "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "Time of an answer, 95 %",
            "By model.",
            "s",
            ((_quantile(0.95, "medsage_model_seconds", "model"), "{{model}}"),),
        ),
        Panel(
            "Sites that drift",
            "By figure: to be looked at (watch), or beyond the limit that holds a site (exceeded).",
            "short",
            (("max by (figure, verdict) (medsage_ai_drift_sites)", "{{figure}} {{verdict}}"),),
        ),
        *_LANGUAGE_MODEL,
    ),
)
_INTEGRATORS = Board(
    "MedSAGE: integrators",
    (
        Panel(
            "Tokens",
            "Requests to the token endpoint, by grant and outcome.",
            "reqps",
            (
                (
                    _rate("medsage_tokens_total", "grant, outcome"),
                    "{{grant}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Refused requests",
            "FHIR answers 4xx: 401 no good token, 403 no right, 422 against a rule, 429 too many.",
            "reqps",
            ((_rate('medsage_fhir_requests_total{status=~"4.."}', "status"), "{{status}}"),),
        ),
        Panel(
            "Beyond limits",
            "Requests that were answered 429, by part.",
            "reqps",
            ((_rate('medsage_http_requests_total{status="429"}', "part"), "{{part}}"),),
        ),
        Panel(
            "Notifications",
            "Attempts to deliver, by outcome.",
            "ops",
            ((_rate("medsage_subscription_attempts_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "From commit to notification",
            "Half and nineteen of twenty are taken within this.",
            "s",
            (
                (_quantile(0.5, "medsage_subscription_delivery_seconds"), "50 %"),
                (_quantile(0.95, "medsage_subscription_delivery_seconds"), "95 %"),
            ),
        ),
        Panel(
            "Notifications that wait",
            "How many, and how old the oldest is.",
            "short",
            (
                ("max(medsage_subscription_waiting)", "waiting"),
                ("max(medsage_subscription_waiting_seconds)", "seconds"),
            ),
        ),
        Panel(
            "Change feed",
            "How far the follower is behind the newest commit, and how often it broke.",
            "s",
            (
                (
                    "max(medsage_store_newest_timestamp_seconds) - "
                    "max(medsage_feed_followed_timestamp_seconds)",
                    "behind",
                ),
                ("sum(increase(medsage_feed_failures_total[1h]))", "breaks in an hour"),
            ),
        ),
        Panel(
            "Reports to record systems",
            "Signed reports that wait for the other side, and since when.",
            "short",
            (
                ('sum(max by (status) (medsage_tasks_waiting{task="report-to-ehr"}))', "waiting"),
                ('max(medsage_tasks_waiting_seconds{task="report-to-ehr"}) / 3600', "hours"),
            ),
        ),
        Panel(
            "Requests answered later",
            "Asynchronous requests that have no result yet.",
            "short",
            (("max(medsage_async_jobs_waiting)", "waiting"),),
        ),
    ),
)
_AUDIT = Board(
    "MedSAGE: audit",
    (
        Panel(
            "Records to be sealed",
            "In the journal, counted up to 1000.",
            "short",
            (("max(medsage_audit_waiting)", "records"),),
        ),
        Panel(
            "Oldest record to be sealed",
            "Seconds while requests are few, minutes at most under load.",
            "s",
            (("max(medsage_audit_waiting_seconds)", "age"),),
        ),
        Panel(
            "Refused for want of rights",
            "FHIR answers 401 and 403.",
            "reqps",
            ((_rate('medsage_fhir_requests_total{status=~"401|403"}', "status"), "{{status}}"),),
        ),
        Panel(
            "Refused at the authorization server",
            "As the audit trail calls them, by status.",
            "reqps",
            (
                (
                    _rate("medsage_authorization_refusals_total", "interaction, status"),
                    "{{interaction}} {{status}}",
                ),
            ),
        ),
        Panel(
            "Sign-ins",
            "People who signed in, an hour.",
            "short",
            (("sum(increase(medsage_sign_ins_total[1h]))", "sign-ins"),),
        ),
        Panel(
            "The trail is read",
            "Requests for AuditEvent, Provenance and Consent, by interaction.",
            "reqps",
            (
                (
                    _rate('medsage_fhir_requests_total{type_class="security"}', "interaction"),
                    "{{interaction}}",
                ),
            ),
        ),
        Panel(
            "Writes",
            "Changes of resources each second, by interaction.",
            "reqps",
            (
                (
                    _rate(
                        'medsage_fhir_requests_total{interaction=~"create|update|patch|delete'
                        '|transaction|batch",status=~"2.."}',
                        "interaction",
                    ),
                    "{{interaction}}",
                ),
            ),
        ),
    ),
)
BOARDS: Mapping[str, Board] = {
    "service": _SERVICE,
    "clinical-ai": _CLINICAL_AI,
    "integrators": _INTEGRATORS,
    "audit": _AUDIT,
}
"""File name → dashboard."""

"""The shipped rules and routes with every duration divided by one factor, so that what takes an
hour in operation is seen in a minute.

Divided: `for`, the windows of rates, the waits of routes, and the ages that rules compare with
(`…_waiting_seconds > 600`). Left as they are: shares, rates, counts, the days of certificates and
the intervals of backups.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
RULES, ROUTES = FOLDER / "alerts.yml", FOLDER / "alertmanager.yml"
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATIONS = re.compile(
    r"(?P<before>\[|\b(?:for|group_wait|group_interval|repeat_interval|resolve_timeout): )"
    r"(?P<number>\d+)(?P<unit>[smhd])\b"
)
_AGES = re.compile(
    r"(?P<before>(?:_waiting_seconds|_followed_timestamp_seconds)\b[^>\n]*> )(?P<seconds>\d+)"
)
_MAIL = ("smtp_smarthost", "smtp_from")


def faster(text: str, factor: int) -> str:
    """Rules or routes with all their durations divided by `factor`, to the millisecond."""

    def duration(found: re.Match[str]) -> str:
        whole = int(found["number"]) * _UNITS[found["unit"]]
        return f"{found['before']}{max(1, whole // factor)}ms"

    def age(found: re.Match[str]) -> str:
        return f"{found['before']}{int(found['seconds']) / factor:g}"

    return _AGES.sub(age, _DURATIONS.sub(duration, text))


def rules(factor: int) -> str:
    """The shipped alerts, made faster."""
    return faster(RULES.read_text("utf-8"), factor)


def routes(factor: int, origin: str) -> str:
    """The shipped routes, made faster; each receiver is the address `{origin}/RECEIVER` in place
    of people's mail."""
    given: dict[str, Any] = yaml.safe_load(faster(ROUTES.read_text("utf-8"), factor))
    for name in _MAIL:
        given["global"].pop(name)
    given["receivers"] = [
        {
            "name": each["name"],
            "webhook_configs": [{"url": f"{origin}/{each['name']}", "send_resolved": True}],
        }
        for each in given["receivers"]
    ]
    return yaml.safe_dump(given, sort_keys=False)


def shipped_rule(alert: str) -> dict[str, Any]:
    """The rule of this name as it is shipped; KeyError when there is none."""
    return _shipped_rules()[alert]


@cache
def _shipped_rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def receivers_of(rule: dict[str, Any]) -> frozenset[str]:
    """Who must be told: the team, and whoever is on call when it is to wake somebody."""
    labels = rule["labels"]
    return frozenset({labels["team"]} | ({"on-call"} if labels["severity"] == "page" else set()))

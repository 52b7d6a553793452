"""The rules by which prometheus-adapter makes the metrics that autoscalers ask for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.availability import ROOT

FILE = ROOT / "deploy/kubernetes/prometheus/adapter.yaml"
# What it puts in: which pods are asked for, and by what they are told apart.
_MATCHERS, _GROUPS = 'job="server"', "instance"


@dataclass(frozen=True)
class AdapterRule:
    """One metric: its name for autoscalers, their type for such metrics, and how it is found."""

    name: str
    type: str
    series_query: str
    metrics_query: str

    def expression(self) -> str:
        """The query as Prometheus gets it."""
        series = re.match(r"\w+", self.series_query)
        assert series is not None
        query = self.metrics_query
        for place, text in {
            "<<.Series>>": series[0],
            "<<.LabelMatchers>>": _MATCHERS,
            "<<.GroupBy>>": _GROUPS,
        }.items():
            assert place in query, place
            query = query.replace(place, text)
        return query


def adapter_rules() -> list[AdapterRule]:
    """All of them."""
    rules = yaml.safe_load(FILE.read_text("utf-8"))["rules"]
    return [*_rules(rules["custom"], "Pods"), *_rules(rules["external"], "External")]


def _rules(listed: list[dict[str, Any]], type: str) -> Iterator[AdapterRule]:
    for each in listed:
        yield AdapterRule(each["name"]["as"], type, each["seriesQuery"], each["metricsQuery"])


def adapter_expressions() -> list[tuple[str, str]]:
    """Name and query of each."""
    return [(each.name, each.expression()) for each in adapter_rules()]

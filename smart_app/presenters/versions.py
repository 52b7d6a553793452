"""Versions of AI models as governance sees them: where each stands, what waits, how it compared,
how far a recall of it has come (fhir_server.fhir.model_versions and recalls)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.drift import judgement_of, populations_of
from fhir_server.fhir.model_versions import (
    STEPS,
    Compared,
    Proposal,
    State,
    compared_in,
    is_comparison,
    key_of,
    standing_of,
    verdict_of,
)
from fhir_server.fhir.recalls import Recall, recalls_of
from smart_app.fhir_client import Resource
from smart_app.language import gettext as _
from smart_app.language import ngettext
from smart_app.presenters.elements import show_concept, show_number
from smart_app.presenters.times import show_time


@dataclass(frozen=True)
class ProposalView:
    """A step that waits for a second person; `is_own` when the reader proposed it."""

    to: str
    share: int
    by: str
    when: str
    reason: str
    verdict: str
    is_own: bool


@dataclass(frozen=True)
class RecallView:
    """A recall: why, for which time, and how far it has come."""

    reason: str
    when: str
    by: str
    period: str
    is_done: bool
    reports: int
    signed: int
    tasks: int
    reached: str


@dataclass(frozen=True)
class VersionView:
    """One registered version. `steps` are the states that may be proposed for it now, each with
    its words and whether a comparison must be named."""

    id: str
    device_version: str
    name: str
    version: str
    key: str
    model: str
    condition: str
    state: str
    state_words: str
    share: int
    was_active: bool
    is_out_of_use: bool
    proposal: ProposalView | None
    recalls: tuple[RecallView, ...]
    steps: tuple[tuple[str, str, bool], ...]

    @property
    def is_recalled(self) -> bool:
        """Whether it was recalled, for whatever time."""
        return bool(self.recalls)


@dataclass(frozen=True)
class ComparisonView:
    """One comparison: its verdict, whether a promotion may name it, what was compared on which
    cells, how many patients were left out (in words) since a version had learnt from them, and the
    figures as (name, difference, interval, words)."""

    id: str
    verdict: str
    may_promote: bool
    when: str
    candidate: str
    active: str
    cells: str
    patients: int
    left_out: str
    figures: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class Decision:
    """One decision that was made: when, by whom, and what."""

    when: str
    people: str
    what: str


NOBODY: Mapping[str, str] = {}
_ORDER = (State.ACTIVE, State.CANDIDATE, State.SHADOW, State.RETIRED)


def version_views(devices: Iterable[Resource], reader: str | None) -> tuple[VersionView, ...]:
    """The registered versions among these Devices: by condition, those in use first."""
    found = [view for device in devices if (view := version_view(device, reader)) is not None]
    places = {state.value: place for place, state in enumerate(_ORDER)}
    return tuple(sorted(found, key=lambda v: (v.condition, places[v.state], v.name, v.key)))


def people_in(device: Resource, decided: Iterable[Resource]) -> tuple[str, ...]:
    """The references of all who proposed, decided or recalled."""
    standing = standing_of(device)
    proposal = standing.proposal if standing else None
    found = [proposal.by.reference] if proposal else []
    found += [recall.by for recall in recalls_of(device)]
    agents = (agent for each in decided for agent in each.get("agent", ()))
    found += [str(agent.get("who", {}).get("reference", "")) for agent in agents]
    return tuple(dict.fromkeys(found))


def version_view(
    device: Resource, reader: str | None, people: Mapping[str, str] = NOBODY
) -> VersionView | None:
    """One Device; None for one that is no registered version. `reader` is the reference of
    whoever looks, `people` the names by reference, as far as they are known."""
    standing = standing_of(device)
    if standing is None:
        return None
    names = [each.get("name", "") for each in device.get("deviceName", ())]
    versions = [each.get("value", "") for each in device.get("version", ())]
    steps = [
        (step.value, state_words(step), need.verdict)
        for (before, step), need in STEPS.items()
        if before is standing.state and (standing.was_active or not need.former)
    ]
    return VersionView(
        id=device["id"],
        device_version=str(device.get("meta", {}).get("versionId", "")),
        name=next(iter(names), standing.model),
        version=next(iter(versions), ""),
        key=key_of(device),
        model=standing.model,
        condition=standing.condition,
        state=standing.state.value,
        state_words=state_words(standing.state),
        share=standing.share,
        was_active=standing.was_active,
        is_out_of_use=standing.state is not State.RETIRED and device.get("status") != "active",
        proposal=_proposal(standing.proposal, reader, people) if standing.proposal else None,
        recalls=tuple(_recall(each, people) for each in recalls_of(device)),
        steps=tuple(steps),
    )


def state_words(state: State) -> str:
    """A state in words."""
    words = {
        State.SHADOW: _("Shadow: runs, nobody sees it"),
        State.CANDIDATE: _("Candidate: gets its share of the analyses"),
        State.ACTIVE: _("Active: in use"),
        State.RETIRED: _("Retired: out of use"),
    }
    return words[state]


def comparison_views(reports: Iterable[Resource]) -> tuple[ComparisonView, ...]:
    """The comparisons among these MeasureReports, newest first."""
    found = [report for report in reports if is_comparison(report)]
    found.sort(key=lambda report: str(report.get("date", "")), reverse=True)
    return tuple(_comparison(report) for report in found)


def decisions(provenances: Iterable[Resource], people: Mapping[str, str]) -> tuple[Decision, ...]:
    """The decisions that these Provenances tell of, newest first."""
    ordered = sorted(provenances, key=lambda p: str(p.get("recorded", "")), reverse=True)
    return tuple(
        Decision(
            when=show_time(each.get("recorded")),
            people="; ".join(_agent(agent, people) for agent in each.get("agent", ())),
            what="; ".join(show_concept(reason) for reason in each.get("reason", ())),
        )
        for each in ordered
    )


def _who(reference: str, people: Mapping[str, str]) -> str:
    name = people.get(reference)
    return f"{name} ({reference})" if name else reference


def _proposal(proposal: Proposal, reader: str | None, people: Mapping[str, str]) -> ProposalView:
    return ProposalView(
        to=state_words(proposal.to),
        share=proposal.share,
        by=_who(proposal.by.reference, people),
        when=show_time(proposal.at),
        reason=proposal.reason,
        verdict=(proposal.verdict or "").removeprefix("MeasureReport/"),
        is_own=proposal.by.reference == reader,
    )


def _recall(recall: Recall, people: Mapping[str, str]) -> RecallView:
    start = show_time(recall.start) if recall.start else _("the beginning")
    end = show_time(recall.end) if recall.end else _("now on, for good")
    return RecallView(
        reason=recall.reason,
        when=show_time(recall.requested),
        by=_ordered_by(recall, people),
        period=_("results from %(start)s to %(end)s") % {"start": start, "end": end},
        is_done=recall.status == "done",
        reports=recall.reports,
        signed=recall.signed,
        tasks=recall.tasks,
        reached=show_time(recall.position) if recall.position else "",
    )


def _ordered_by(recall: Recall, people: Mapping[str, str]) -> str:
    who = _who(recall.by, people)
    if recall.operator is None:
        return who
    return _("operator %(name)s, by %(client)s") % {"name": recall.operator, "client": who}


def _comparison(report: Resource) -> ComparisonView:
    compared = compared_in(report)
    verdict = verdict_of(report) or ""
    words = {
        "better": _("Better beyond the interval, worse in nothing"),
        "no-better": _("Not better beyond the interval"),
        "worse": _("Worse"),
    }
    groups: Sequence[Resource] = report.get("group", ())
    return ComparisonView(
        id=report["id"],
        verdict=words.get(verdict, _("No verdict")),
        may_promote=verdict == "better" and compared is not None and compared.is_fair,
        when=show_time(report.get("date")),
        candidate=compared.candidate if compared else _("not said"),
        active=compared.active if compared else _("not said"),
        cells=f"{compared.cells_sha256[:16]}… ({compared.split})" if compared else _("not said"),
        patients=max((n for g in groups for n in populations_of(g).values()), default=0),
        left_out=_left_out(compared),
        figures=tuple(_figure(group) for group in groups),
    )


def _left_out(compared: Compared | None) -> str:
    if compared is None or not compared.is_fair:
        return _("not looked for: it promotes nothing")
    patients = compared.patients_left_out or 0
    text = ngettext("%(n)s patient (%(cells)s cells)", "%(n)s patients (%(cells)s cells)", patients)
    return text % {"n": patients, "cells": compared.cells_left_out}


def _figure(group: Resource) -> tuple[str, str, str, str]:
    judged: Mapping[str, Any] = judgement_of(group)
    words = {"better": _("better"), "same": _("no difference"), "worse": _("worse")}
    value = group.get("measureScore", {}).get("value")
    low, high = judged.get("low"), judged.get("high")
    known = low is not None and high is not None
    return (
        show_concept(group.get("code")),
        show_number(value) if value is not None else "–",
        _("%(low)s to %(high)s") % {"low": show_number(low), "high": show_number(high)}
        if known
        else "–",
        words.get(str(judged.get("verdict")), "–"),
    )


def _agent(agent: Resource, people: Mapping[str, str]) -> str:
    role = show_concept(agent.get("type")) if "type" in agent else ""
    name = _who(str(agent.get("who", {}).get("reference", "")), people)
    return f"{name}, {role}" if role else name

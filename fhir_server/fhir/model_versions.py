"""Versions of AI models: where each stands, and what may change that (ADR 0021). Pure.

A version is its AI Device; where it stands is an extension of the Device that the server alone
writes. What changes what patients' results come from needs two people: one proposes, another
approves. Taking a version out of use is the safe direction, and needs one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.fhir.outcome import business_rule, conflict

Resource = dict[str, Any]

DEVICE_TYPES = "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS"
AI_DEVICE = "Artificial-Intelligence"
"""Device.type of every AI system (HL7 AI Transparency on FHIR)."""
STANDING = f"{CANONICAL}/StructureDefinition/model-standing"
COMPARISON = f"{CANONICAL}/Measure/model-comparison"
"""The Measure of a comparison of two versions on the same patients."""
VERDICT = f"{CANONICAL}/StructureDefinition/model-verdict"
"""On its MeasureReport: a code, `better`, `no-better` or `worse`."""
COMPARED = f"{CANONICAL}/StructureDefinition/model-compared"
"""On it too: which two versions (their keys) were compared, on which cells (a SHA-256), and how
many were left out since a version had learnt from their patients."""
MEASURER = "medsage-monitor"
"""The client that compares versions: from it alone the server takes a comparison."""
SYSTEM_VERSIONS = f"{CANONICAL}/identifier/ai-system-version"
"""Device.identifier of a version: made of the hashes of its files."""
BETTER = "better"
SHADOW_RESULT = {
    "system": f"{CANONICAL}/CodeSystem/model-use",
    "code": "shadow",
    "display": "Said in the shadow, not part of care",
}
"""The security label of what a version said that runs as a shadow."""
DECISION = {
    "system": f"{CANONICAL}/CodeSystem/model-use",
    "code": "decision",
    "display": "Decision on a model version",
}
"""The tag of the Provenance of a decision; the server gives it to those that its own operations
write, and refuses it to everybody else."""
GOVERNING = frozenset({"admin", "governance"})
"""The roles that may propose, approve, decline and retire."""
MOST_SHARE = 50
"""Per cent of the Tasks that a candidate may be given: the active version keeps the rest."""


class State(StrEnum):
    """Where a version stands. A shadow runs and nobody sees it; a candidate gets its share of
    the Tasks; the active one gets all others; a retired one runs no more."""

    SHADOW = "shadow"
    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Need:
    """What one step needs besides two people."""

    verdict: bool = False
    """A comparison that found the version better than the active one, by reference."""
    former: bool = False
    """That the version has been active before."""


STEPS: Mapping[tuple[State, State], Need] = {
    (State.SHADOW, State.CANDIDATE): Need(),
    (State.CANDIDATE, State.CANDIDATE): Need(),  # another share
    (State.CANDIDATE, State.ACTIVE): Need(verdict=True),
    (State.RETIRED, State.ACTIVE): Need(former=True),  # the way back
}
"""The steps that are proposed and approved; retiring is open from each other state."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides: the name they sign in with, and who they are (`Practitioner/x`)."""

    user: str
    reference: str

    def is_same(self, other: "Person") -> bool:
        """Whether both are one person: two accounts of one Practitioner are."""
        return self.user == other.user or self.reference == other.reference


@dataclass(frozen=True, slots=True)
class Proposal:
    """A step that waits for a second person. `at` is an instant, `against` the Device of the
    version that was active then (None: there was none), `verdict` the MeasureReport of the
    comparison."""

    to: State
    by: Person
    at: str
    reason: str
    share: int = 0
    verdict: str | None = None
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a version stands. `model` is its name in the table of models, `condition` what it
    looks for; of a condition one version at most is active. `share` is a candidate's, in per
    cent of the Tasks; `was_active` is what the way back asks for."""

    model: str
    condition: str
    state: State
    share: int = 0
    was_active: bool = False
    proposal: Proposal | None = None


def proposed(standing: Standing, proposal: Proposal) -> Standing:
    """With the proposal; FhirError 409 when another waits, 422 for a step that there is not."""
    if standing.proposal is not None:
        by = standing.proposal.by.reference
        raise conflict(f"a proposal of {by} waits already; approve or decline that first")
    step = standing.state, proposal.to
    need = STEPS.get(step)
    if need is None:
        raise business_rule(f"there is no step from {step[0]} to {step[1]}")
    if need.verdict and proposal.verdict is None:
        raise business_rule(f"to become {proposal.to} needs a comparison with the active version")
    if need.former and not standing.was_active:
        raise business_rule("the way back is for versions that were active before")
    is_candidate = proposal.to is State.CANDIDATE
    if proposal.share and not is_candidate:
        raise business_rule("only a candidate has a share of the Tasks")
    if not 0 <= proposal.share <= MOST_SHARE:
        raise business_rule(f"a share is 0 to {MOST_SHARE} per cent")
    return replace(standing, proposal=proposal)


def approved(standing: Standing, by: Person, active: str | None) -> Standing:
    """The next state; `active` is the Device of the version that is active now. FhirError 409
    without a proposal or when another version has become active since, 422 for the proposer."""
    proposal = _waiting(standing)
    if by.is_same(proposal.by):
        text = f"proposed by {proposal.by.reference}: the one who approves must be somebody else"
        raise business_rule(text)
    if active != proposal.against:
        raise conflict("another version has become active since this was proposed: propose anew")
    return Standing(
        model=standing.model,
        condition=standing.condition,
        state=proposal.to,
        share=proposal.share,
        was_active=standing.was_active or proposal.to is State.ACTIVE,
    )


def declined(standing: Standing) -> Standing:
    """Without its proposal, whoever says so; FhirError 409 when there is none."""
    _waiting(standing)
    return replace(standing, proposal=None)


def retired(standing: Standing) -> Standing:
    """Out of use; FhirError 409 when it is already."""
    if standing.state is State.RETIRED:
        raise conflict("this version is retired already")
    return replace(standing, state=State.RETIRED, share=0, proposal=None)


def _waiting(standing: Standing) -> Proposal:
    if standing.proposal is None:
        raise conflict("no proposal waits for this version")
    return standing.proposal


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison says that it compared, on which cells: the keys of both versions, the
    SHA-256 of the file of cells, and its split. How many patients and cells of it were left out,
    since a version had learnt from those patients, is None where nobody looked."""

    candidate: str
    active: str
    cells_sha256: str
    split: str
    patients_left_out: int | None = None
    cells_left_out: int | None = None

    @property
    def key(self) -> str:
        """The business identifier: the same comparison is stored once."""
        return f"{self.candidate}.{self.active}.{self.cells_sha256[:16]}.{self.split}"

    @property
    def is_fair(self) -> bool:
        """Whether it was looked for patients from whom a version had learnt."""
        return None not in (self.patients_left_out, self.cells_left_out)


def compared_in(report: Resource) -> Compared | None:
    """What a MeasureReport says that it compared; None where it does not say all of it."""
    found = (e for e in report.get("extension", ()) if e.get("url") == COMPARED)
    parts: Sequence[Resource] = next((each.get("extension", ()) for each in found), ())
    names = ("candidate", "active", "cells-sha256", "split")
    values = [_value(parts, name, "valueString") for name in names]
    if not all(values) or not re.fullmatch("[0-9a-f]{64}", str(values[2])):
        return None
    candidate, active, cells, split = map(str, values)
    patients = _value(parts, "patients-left-out", "valueInteger")
    left_out = _value(parts, "cells-left-out", "valueInteger")
    return Compared(candidate, active, cells, split, patients, left_out)


def compared_extension(compared: Compared) -> Resource:
    """The extension that says it."""
    values = {
        "candidate": compared.candidate,
        "active": compared.active,
        "cells-sha256": compared.cells_sha256,
        "split": compared.split,
    }
    parts: list[Resource] = [{"url": name, "valueString": text} for name, text in values.items()]
    left_out = {"patients": compared.patients_left_out, "cells": compared.cells_left_out}
    parts += [
        {"url": f"{name}-left-out", "valueInteger": count}
        for name, count in left_out.items()
        if count is not None
    ]
    return {"url": COMPARED, "extension": parts}


def is_comparison(resource: Resource) -> bool:
    """Whether a resource is a comparison of versions, which the MEASURER alone may write."""
    if resource.get("resourceType") != "MeasureReport":
        return False
    said = {each.get("url") for each in resource.get("extension", ())}
    measure = str(resource.get("measure", "")).partition("|")[0]
    return measure == COMPARISON or bool(said & {VERDICT, COMPARED})


def is_decision(provenance: Resource) -> bool:
    """Whether a Provenance bears the mark of a decision."""
    tags = provenance.get("meta", {}).get("tag", ())
    named = ((each.get("system"), each.get("code")) for each in tags)
    return (DECISION["system"], DECISION["code"]) in named


def key_of(device: Resource) -> str:
    """The key of the version whose Device it is; empty for any other Device."""
    identifiers = device.get("identifier", ())
    return next((str(i["value"]) for i in identifiers if i.get("system") == SYSTEM_VERSIONS), "")


@dataclass(frozen=True, slots=True)
class Version:
    """A version by its Device (`Device/x`) and its key."""

    reference: str
    key: str


def require_verdict(report: Resource, candidate: Version, active: Version | None) -> None:
    """FhirError 422 unless the MeasureReport is a finished comparison of these very versions that
    found `candidate` better than `active`. Who wrote it was judged when it was stored."""
    compared = [each.get("reference") for each in report.get("evaluatedResource", ())]
    said = compared_in(report)
    against = active.reference if active else None
    checks = {
        "is no comparison of models": report.get("measure", "").split("|")[0] == COMPARISON,
        "is not complete": report.get("status") == "complete",
        f"is not about {candidate.reference}": report.get("subject", {}).get("reference")
        == candidate.reference,
        f"does not compare with {against}": active is None or against in compared,
        "does not say which files of which versions were compared on which cells": said is not None,
        f"compared other files than those of {candidate.reference}": said is None
        or said.candidate == candidate.key,
        f"compared with other files than those of {against}": said is None
        or active is None
        or said.active == active.key,
        "does not say that the patients from whom either learnt were left out": said is None
        or said.is_fair,
        "did not find it better": verdict_of(report) == BETTER,
    }
    wrong = [text for text, holds in checks.items() if not holds]
    if wrong:
        raise business_rule(f"MeasureReport/{report.get('id')} {', '.join(wrong)}")


def verdict_of(report: Resource) -> str | None:
    """The verdict of a comparison; None where there is none."""
    found = _value(report.get("extension", ()), VERDICT, "valueCode")
    return None if found is None else str(found)


def standing_of(device: Resource) -> Standing | None:
    """Where the version of a Device stands; None for a Device that is not registered."""
    found = next((e for e in device.get("extension", ()) if e.get("url") == STANDING), None)
    if found is None:
        return None
    parts: Sequence[Resource] = found["extension"]
    proposal = next((part for part in parts if part["url"] == "proposal"), None)
    return Standing(
        model=_text(parts, "model", "valueString"),
        condition=_text(parts, "condition", "valueCode"),
        state=State(_text(parts, "state", "valueCode")),
        share=_value(parts, "share", "valueInteger") or 0,
        was_active=_value(parts, "was-active", "valueBoolean") or False,
        proposal=_proposal(proposal["extension"]) if proposal else None,
    )


def with_standing(device: Resource, standing: Standing) -> Resource:
    """The Device of a version that stands there; a retired one is `inactive`, and one that was put
    out of use by other means stays so."""
    before = standing_of(device)
    others = [e for e in device.get("extension", ()) if e.get("url") != STANDING]
    parts = [
        {"url": "model", "valueString": standing.model},
        {"url": "condition", "valueCode": standing.condition},
        {"url": "state", "valueCode": standing.state.value},
        {"url": "share", "valueInteger": standing.share},
        {"url": "was-active", "valueBoolean": standing.was_active},
    ]
    if standing.proposal is not None:
        parts.append({"url": "proposal", "extension": _parts(standing.proposal)})
    status = "inactive" if standing.state is State.RETIRED else "active"
    if before is not None and before.state is not State.RETIRED and status == "active":
        status = device.get("status", status)
    extension = [*others, {"url": STANDING, "extension": parts}]
    return {**device, "extension": extension, "status": status}


def _proposal(parts: Sequence[Resource]) -> Proposal:
    return Proposal(
        to=State(_text(parts, "to", "valueCode")),
        by=Person(_text(parts, "user", "valueString"), str(_reference(parts, "by"))),
        at=_text(parts, "at", "valueInstant"),
        reason=_text(parts, "reason", "valueString"),
        share=_value(parts, "share", "valueInteger") or 0,
        verdict=_reference(parts, "verdict"),
        against=_reference(parts, "against"),
    )


def _parts(proposal: Proposal) -> list[Resource]:
    parts: list[Resource] = [
        {"url": "to", "valueCode": proposal.to.value},
        {"url": "by", "valueReference": {"reference": proposal.by.reference}},
        {"url": "user", "valueString": proposal.by.user},
        {"url": "at", "valueInstant": proposal.at},
        {"url": "reason", "valueString": proposal.reason},
        {"url": "share", "valueInteger": proposal.share},
    ]
    for url, reference in (("verdict", proposal.verdict), ("against", proposal.against)):
        if reference is not None:
            parts.append({"url": url, "valueReference": {"reference": reference}})
    return parts


def _reference(parts: Sequence[Resource], url: str) -> str | None:
    found = _value(parts, url, "valueReference")
    return found["reference"] if found else None


def _value(parts: Sequence[Resource], url: str, name: str) -> Any:
    return next((part.get(name) for part in parts if part.get("url") == url), None)


def _text(parts: Sequence[Resource], url: str, name: str) -> str:
    return str(_value(parts, url, name))

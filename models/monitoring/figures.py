"""Cases → figures of drift, each with its verdict (docs/adr/0022-drift-holds-and-feedback.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from models.malaria.pool import wilson
from models.monitoring.cases import Case
from models.monitoring.limits import SIGNS, Limit, Limits
from models.monitoring.reference import Reference
from models.monitoring.stability import Shift, shift, shift_from_mix


class Verdict(StrEnum):
    """How a figure is judged."""

    TOO_FEW = "too-few"
    NO_REFERENCE = "no-reference"
    STEADY = "steady"
    WATCH = "watch"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its `value` (None when there is none) of `cases` analyses. `hits` of `total`
    stand behind a share; `low` and `high` are its 95 % interval; for a PSI `low` is what chance
    alone explains."""

    code: str
    verdict: Verdict
    cases: int
    value: float | None = None
    hits: int | None = None
    total: int | None = None
    low: float | None = None
    high: float | None = None
    limit: Limit | None = None


def figures(
    cases: Sequence[Case], reference: Reference | None, limits: Limits
) -> tuple[Figure, ...]:
    """All figures of one version at one site in one window."""
    return (
        *(_sign(name, cases, reference, limits) for name in SIGNS),
        _scores(cases, reference, limits),
        _refusals(cases, limits),
        _overrides(cases, limits),
        _agreement(cases, limits),
    )


def _sign(name: str, cases: Sequence[Case], reference: Reference | None, limits: Limits) -> Figure:
    measured = [case.signs[name] for case in cases if case.signs.get(name)]
    limit = limits.figures[name]
    if reference is None:
        return Figure(name, Verdict.NO_REFERENCE, len(measured), limit=limit)
    if len(measured) < limits.least:
        return Figure(name, Verdict.TOO_FEW, len(measured), limit=limit)
    sign = reference.signs[name]
    shares = [0.0] * len(sign.bins.counts)
    for values in measured:
        for value in values:
            shares[sign.place(value)] += 1 / len(values) / len(measured)
    return _shifted(name, shift(shares, len(measured), sign.bins), len(measured), limit)


def _scores(cases: Sequence[Case], reference: Reference | None, limits: Limits) -> Figure:
    limit = limits.figures["scores"]
    scored = [case for case in cases if sum(case.scores)]
    if reference is None or not all(reference.is_of(case.version or "") for case in scored):
        return Figure("scores", Verdict.NO_REFERENCE, len(scored), limit=limit)
    # A site sends mostly one kind of image; kinds are not mixed, their scores differ.
    kinds = [case.kind for case in scored]
    kind = max(sorted(set(kinds)), key=kinds.count, default="field")
    judged = [case for case in scored if case.kind == kind]
    if len(judged) < limits.least:
        return Figure("scores", Verdict.TOO_FEW, len(judged), limit=limit)
    shares = [
        sum(case.scores[place] / sum(case.scores) for case in judged) / len(judged)
        for place in range(len(judged[0].scores))
    ]
    moved, _share = shift_from_mix(shares, len(judged), reference.scores[kind])
    return _shifted("scores", moved, len(judged), limit)


def _refusals(cases: Sequence[Case], limits: Limits) -> Figure:
    hits, total = sum(case.refused for case in cases), sum(case.images for case in cases)
    return _share("refusals", (hits, total), len(cases), limits)


def _overrides(cases: Sequence[Case], limits: Limits) -> Figure:
    judged = _judged(cases)
    return _share("overrides", (judged.count("reject"), len(judged)), len(judged), limits)


def _agreement(cases: Sequence[Case], limits: Limits) -> Figure:
    """Shown beside the overrides, never judged: it is what they leave, less the changes."""
    judged = _judged(cases)
    hits = judged.count("accept")
    if len(judged) < limits.least:
        few = Verdict.TOO_FEW
        return Figure("agreement", few, len(judged), hits=hits, total=len(judged))
    low, high = wilson(hits, len(judged))
    value = hits / len(judged)
    return Figure(
        "agreement",
        Verdict.STEADY,
        len(judged),
        value=value,
        hits=hits,
        total=len(judged),
        low=low,
        high=high,
    )


def _judged(cases: Sequence[Case]) -> list[str]:
    return [c.agreement for c in cases if c.agreement in ("accept", "modify", "reject")]


def _share(code: str, counted: tuple[int, int], cases: int, limits: Limits) -> Figure:
    """A share of images or results; its interval is that of as many units as there are cases, for
    the images of one case are alike."""
    hits, total = counted
    limit = limits.figures[code]
    if cases < limits.least or total == 0:
        return Figure(code, Verdict.TOO_FEW, cases, hits=hits, total=total, limit=limit)
    value = hits / total
    low, high = wilson(round(value * cases), cases)
    return Figure(
        code,
        _verdict(low, limit),
        cases,
        value=value,
        hits=hits,
        total=total,
        low=low,
        high=high,
        limit=limit,
    )


def _shifted(code: str, moved: Shift, cases: int, limit: Limit) -> Figure:
    verdict = _verdict(moved.psi, limit) if moved.is_beyond_chance else Verdict.STEADY
    return Figure(code, verdict, cases, value=moved.psi, low=moved.chance, limit=limit)


def _verdict(surely: float, limit: Limit) -> Verdict:
    if limit.hold is not None and surely > limit.hold:
        return Verdict.EXCEEDED
    return Verdict.WATCH if surely > limit.watch else Verdict.STEADY

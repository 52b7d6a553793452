"""The limits of drift, read from a TOML file; the shipped one is `limits.toml` beside this."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).with_name("limits.toml")
SIGNS = ("brightness", "contrast", "stain", "sharpness")
FIGURES = (*SIGNS, "scores", "refusals", "overrides")


class UnusableLimits(ValueError):
    """The file of limits is wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Above `watch` a figure is to be looked at; above `hold` (None: never) the site is held."""

    watch: float
    hold: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """`days` of a window, the `least` analyses that are judged, and a Limit for each figure."""

    days: int
    least: int
    figures: Mapping[str, Limit]


def read_limits(file: Path | None = None) -> Limits:
    """The limits of a file, the shipped one when none is given; UnusableLimits for a name, a
    figure or an order that is wrong."""
    path = file or SHIPPED
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise UnusableLimits(f"{path}: {problem}") from problem
    unknown = content.keys() - {"days", "least", "figures"}
    given = content.get("figures", {})
    if unknown or given.keys() != set(FIGURES):
        wrong = sorted(unknown | (given.keys() ^ set(FIGURES)))
        raise UnusableLimits(f"{path}: unknown or missing: {', '.join(wrong)}")
    days, least = content.get("days"), content.get("least")
    if not isinstance(days, int) or not 1 <= days <= 92:
        raise UnusableLimits(f"{path}: days must be 1 to 92")
    if not isinstance(least, int) or least < 10:
        raise UnusableLimits(f"{path}: least must be 10 or more: fewer say nothing")
    return Limits(days, least, {name: _limit(path, name, given[name]) for name in FIGURES})


def _limit(path: Path, name: str, given: Mapping[str, object]) -> Limit:
    watch, hold = given.get("watch"), given.get("hold")
    is_number = isinstance(watch, (int, float)) and isinstance(hold, (int, float, type(None)))
    if not is_number or given.keys() - {"watch", "hold"}:
        raise UnusableLimits(f"{path}: {name} has `watch` and perhaps `hold`, both numbers")
    limit = Limit(float(str(watch)), None if hold is None else float(str(hold)))
    if limit.watch <= 0 or (limit.hold is not None and limit.hold < limit.watch):
        raise UnusableLimits(f"{path}: {name}: 0 < watch <= hold")
    return limit

"""The question about weight and height that don't fit together, or not to the patient's age.

It is asked once for these very values at this birth date, and nothing is refused: a box confirms.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from fhir_server.fhir.body_size import bmi, charted, is_possible_bmi
from smart_app.language import gettext as _

SIZE = "size"
CONFIRM_SIZE = f"confirm_{SIZE}"
_DAYS_OF_A_YEAR = 365.25
_UNKNOWN_DAYS = {4: 365, 7: 30}
"""By the length of a birth date: how many days later it may have been."""


@dataclass(frozen=True)
class SizeQuestion:
    """`confirm` is the text of the box, empty when there is nothing to ask; `token` what the box
    sends, which names the values; `problem` stays until that was sent."""

    problem: str = ""
    confirm: str = ""
    token: str = ""


def size_question(
    measured: Mapping[str, float], confirmed: str, born: str | None, today: date
) -> SizeQuestion:
    """What to ask about the measured `weight` and `height`, where they are there."""
    asked = [*_of_pair(measured), *_of_child(measured, born, today)]
    if not asked:
        return SizeQuestion()
    token = "/".join(str(measured.get(name, "")) for name in ("weight", "height"))
    token = f"{token}/{born or ''}"
    confirm = _("Yes, weight and height are right")
    if confirmed == token:
        return SizeQuestion("", confirm, token)
    return SizeQuestion(" ".join([*asked, _("Correct or confirm it.")]), confirm, token)


def _of_pair(measured: Mapping[str, float]) -> Iterator[str]:
    weight, height = measured.get("weight"), measured.get("height")
    if not weight or not height:
        return
    found = bmi(weight, height)
    if not is_possible_bmi(found):
        text = _(
            "Weight of %(weight)s kg and height of %(height)s cm give a BMI of %(bmi)s kg/m², "
            "which hardly anybody can have. Swapped?"
        )
        words = {"weight": f"{weight:g}", "height": f"{height:g}", "bmi": f"{found:.0f}"}
        yield text % words


def _of_child(measured: Mapping[str, float], born: str | None, today: date) -> Iterator[str]:
    ages = _ages(born, today)
    if ages is None:
        return
    texts = {
        "weight": _("Weight of %(value)s kg is far from what growth charts know at this age."),
        "height": _("Height of %(value)s cm is far from what growth charts know at this age."),
    }
    for name, text in texts.items():
        band = charted(name, *ages)
        if name in measured and band is not None and not band[0] <= measured[name] <= band[1]:
            yield text % {"value": f"{measured[name]:g}"}


def _ages(born: str | None, today: date) -> tuple[float, float] | None:
    """The least and the greatest age in years by a birth date, which may lack day or month; None
    where it is not known, or lies in the future."""
    if not born:
        return None
    earliest = date(*[*map(int, born[:10].split("-")), 1, 1][:3])
    latest = earliest + timedelta(days=_UNKNOWN_DAYS.get(len(born), 0))
    if earliest > today:
        return None
    youngest, oldest = ((today - day).days / _DAYS_OF_A_YEAR for day in (latest, earliest))
    return max(youngest, 0.0), oldest

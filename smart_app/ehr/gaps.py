"""What another record system did not give, in words: what is missing, and what still works."""

from collections.abc import Sequence

from smart_app.language import gettext as _
from smart_app.language import ngettext
from smart_app.sessions import Origin

NO_USER = "no-user"
NO_ENCOUNTER = "no-encounter"
NO_RENEWAL = "no-renewal"
NOT_A_CLINICIAN = "not-a-clinician"
PARTLY = "partly"
PARTLY_LISTED = "partly-listed"


def gap_lines(origin: Origin) -> Sequence[str]:
    """A sentence for everything that is missing from the copied chart."""
    name = {"name": origin.name}
    types = {
        "AllergyIntolerance": (
            _("%(name)s did not let MedSAGE read allergies. Ask the patient; all else works."),
            _("Allergies could not be read from %(name)s. Ask the patient; all else works."),
        ),
        "Observation": (
            _("%(name)s did not let MedSAGE read vital signs. Enter them by hand."),
            _("Vital signs could not be read from %(name)s. Enter them by hand."),
        ),
        "Encounter": (
            _("%(name)s did not let MedSAGE read the visit. The report will name none."),
            _("The visit could not be read from %(name)s. The report will name none."),
        ),
    }
    lines = [
        types[kind][reason != "forbidden"] % name
        for kind, reason in origin.gaps
        if reason != PARTLY
    ]
    words = {
        NO_USER: _("%(name)s did not say who you are. You can read, but not sign."),
        NOT_A_CLINICIAN: _("Your account at %(name)s is not a practitioner's. You can read, but "
                           "not sign."),
        NO_RENEWAL: _("%(name)s gave a permission of limited time. If it runs out before you "
                      "sign, the report is sent when MedSAGE is next opened from this chart."),
        PARTLY_LISTED: _("The list of vital signs was too long to be read whole; the newest may be "
                         "missing."),
    }  # fmt: skip
    lines += [words[note] % name for note in origin.notes if note in words]
    if origin.left_out:
        text = ngettext(
            "%(count)s entry of the chart could not be taken over. Look at the chart itself.",
            "%(count)s entries of the chart could not be taken over. Look at the chart itself.",
            origin.left_out,
        )
        lines.append(text % {"count": origin.left_out})
    return lines

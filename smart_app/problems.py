"""Everything that can keep a page from being shown, in plain words: what happened, what to do.

A page raises `Problem(cause)`; `app.py` shows it with the HTTP status of the table below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from smart_app.language import gettext, mark


@dataclass(eq=False)
class Problem(Exception):
    """One cause of the table; `details` are further lines, free of secrets."""

    cause: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """What a person reads about a cause: what happened, what to do, what works all the same."""

    status: int
    title: str
    what: str
    do: str
    signs_in: bool = False
    works: str = ""


RELAUNCH = mark("Close this window and open MedSAGE again from the patient's chart.")
ENTER = mark("Sign in at MedSAGE's Home page, if you have an account there, and enter the patient.")
AGAIN = mark("Try again in a moment. If it stays so, tell your IT support the code below.")
CAUSES: Mapping[str, Explanation] = {
    "unknown-issuer": Explanation(
        400,
        mark("This record system is not registered"),
        mark("MedSAGE was opened from a record system that it does not know, so it did not "
          "start."),
        mark("Ask your IT support to register the record system's FHIR address."),
    ),
    "bad-launch": Explanation(
        400,
        mark("The launch was incomplete"),
        mark("The record system did not say which server and which chart to open."),
        RELAUNCH,
    ),
    "expired-launch": Explanation(
        400,
        mark("This launch has expired"),
        mark("A launch can be used once, within ten minutes. This one was used or is too old."),
        RELAUNCH,
        True,
    ),
    "cookies-blocked": Explanation(
        400,
        mark("Your browser blocked MedSAGE's cookie"),
        mark("Without its cookie MedSAGE can't know that it is still you, so it did not open "
          "the chart."),
        mark("Allow cookies for this site, or ask your IT support to allow partitioned cookies "
          "(CHIPS) in the frame. Then open MedSAGE again."),
    ),
    "denied": Explanation(
        403,
        mark("Access was not granted"),
        mark("The sign-in was cancelled, or your record system refused access."),
        RELAUNCH,
        True,
    ),
    "refused": Explanation(
        400,
        mark("Your record system refused the launch"),
        mark("It did not accept the request that MedSAGE made."),
        RELAUNCH,
        True,
    ),
    "no-patient": Explanation(
        400,
        mark("No patient was chosen"),
        mark("MedSAGE was opened without a patient."),
        mark("Open a patient's chart first, then open MedSAGE from there."),
        True,
        ENTER,
    ),
    "no-chart": Explanation(
        502,
        mark("The chart could not be taken over"),
        mark("The record system gave no patient record that MedSAGE can read, so no chart was "
          "opened."),
        mark("Tell your IT support what is named above."),
        True,
        ENTER,
    ),
    "not-smart": Explanation(
        502,
        mark("The record system is not set up for launches"),
        mark("It answered, but without what MedSAGE needs to begin."),
        mark("Tell your IT support what is named above."),
        True,
        ENTER,
    ),
    "no-glyph": Explanation(
        422,
        mark("The PDF can't be made"),
        mark("The report has characters that the PDF could not show rightly, so none was made."),
        mark("Print the report, or download it as FHIR."),
    ),
    "incomplete": Explanation(
        502,
        mark("The report can't be loaded whole"),
        mark("Some of its results could not be loaded, so no file was made of it."),
        AGAIN,
    ),
    "missing-scopes": Explanation(
        403,
        mark("Some permissions are missing"),
        mark("Your record system did not grant what MedSAGE needs to show a chart."),
        mark("Ask your IT support to grant these permissions to MedSAGE."),
        True,
        ENTER,
    ),
    "clock-skew": Explanation(
        400,
        mark("The clocks disagree"),
        mark("The time on your record system and on MedSAGE differ by more than a minute, so "
          "the sign-in could not be trusted."),
        mark("Ask your IT support to check the time on both servers."),
    ),
    "bad-identity": Explanation(
        400,
        mark("The sign-in could not be verified"),
        mark("Who signed in could not be proved, so MedSAGE did not open the chart."),
        RELAUNCH,
        True,
    ),
    "ehr-unreachable": Explanation(
        502,
        mark("The record system can't be reached"),
        mark("MedSAGE got no answer from the record system."),
        AGAIN,
    ),
    "ehr-busy": Explanation(
        503,
        mark("The record system can't answer now"),
        mark("It is there, but said that it can't do this for the moment."),
        AGAIN,
    ),
    "session-ended": Explanation(
        401,
        mark("Your session has ended"),
        mark("You signed out, the session is over, or this address belongs to another browser."),
        RELAUNCH,
        True,
    ),
    "reconnect": Explanation(
        401,
        mark("The connection to the record system has ended"),
        mark("Your permission ran out and could not be renewed. What you entered is kept until "
          "the session ends."),
        RELAUNCH,
        True,
    ),
    "forged": Explanation(
        403,
        mark("This form can't be accepted"),
        mark("The form did not come from this window, or is too old."),
        mark("Go back, reload the page and send the form again. Nothing was changed."),
    ),
    "other-patient": Explanation(
        409,
        mark("This form belongs to another patient"),
        mark("The form was opened for one patient, but the chart that is open now is of "
          "another. Nothing was saved."),
        mark("Check the name at the top of the page, then start again from the patient's page."),
    ),
    "not-found": Explanation(
        404,
        mark("Not found in this chart"),
        mark("What you asked for does not exist, or does not belong to this patient."),
        mark("Go back to the patient's page."),
    ),
    "kept-back": Explanation(
        404,
        mark("This chart is not shown to you any more"),
        mark("It was there when you opened it. Since then the patient's consent, a restriction of "
          "its use or your permissions have changed, or it was removed. Nothing was changed."),
        mark("Ask the patient, or whoever keeps consents. In an emergency a doctor or nurse can "
          "ask for emergency access."),
    ),
    "not-permitted": Explanation(
        403,
        mark("You are not permitted to do this"),
        mark("Your record system does not allow this for your account."),
        mark("Ask your IT support whether your role should include it."),
    ),
    "conflict": Explanation(
        412,
        mark("Someone else changed this first"),
        mark("The record changed after you opened it. Your version was not saved, so nobody's "
          "work is overwritten."),
        mark("Look at the current version, then decide again. Your text is kept as a draft."),
    ),
    "too-large": Explanation(
        413,
        mark("That is too large"),
        mark("The upload is larger than MedSAGE accepts."),
        mark("Send fewer or smaller images."),
    ),
    "bad-form": Explanation(
        400,
        mark("The form could not be read"),
        mark("A field is missing, or has a value that this page never offers."),
        mark("Go back, reload the page and try again."),
    ),
    "too-many": Explanation(
        429,
        mark("Too many requests in an hour"),
        mark("The record system takes no more from you for now. What you entered is kept until "
          "the session ends."),
        mark("Go on later. If you need more, ask your IT support to raise the limit."),
    ),
    "recalled": Explanation(
        409,
        mark("The AI result of this report was recalled"),
        mark("The version of the AI system that made it was recalled, so the report can't be "
          "signed. Nothing was changed."),
        mark("Assess the patient without it, or start a new assessment."),
    ),
    "further": Explanation(
        409,
        mark("This report can't be read or signed here"),
        mark("It is by a model of another condition, not of malaria smears. Nothing was stored."),
        mark("Assess the patient without it."),
    ),
    "withdrawn": Explanation(
        409,
        mark("The patient does not permit this analysis"),
        mark("Consent was withdrawn, or the use of the record was restricted, before the draft "
          "was signed. Nothing was stored."),
        mark("Assess the patient as you would without AI. If the patient permits it again, the "
          "draft can be signed again."),
    ),
    "rejected": Explanation(
        422,
        mark("The record system did not accept this"),
        mark("It refused to store what was sent, and changed nothing."),
        mark("Correct what it names below, or tell your IT support."),
    ),
    "sessions-away": Explanation(
        503,
        mark("Sign-ins can't be looked up now"),
        mark("MedSAGE can't reach the store of its sign-ins, so it can't know that it is you. "
          "Nothing is lost that was saved."),
        AGAIN,
    ),
    "busy": Explanation(
        503,
        mark("MedSAGE has too much to do now"),
        mark("So that others are answered in time, your page was refused. Nothing was sent or "
          "changed."),
        AGAIN,
    ),
    "failed": Explanation(
        500,
        mark("Something went wrong"),
        mark("MedSAGE met an unexpected error. Nothing more is known here."),
        AGAIN,
    ),
}  # fmt: skip


def explain(cause: str) -> Explanation:
    """The words for a cause, in the current language."""
    found = CAUSES[cause]
    return replace(
        found,
        title=gettext(found.title),
        what=gettext(found.what),
        do=gettext(found.do),
        works=gettext(found.works) if found.works else "",
    )

"""Whether a signed report reached the record system: sent, refused because …, or waiting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smart_app.fhir_client import Resource
from smart_app.language import gettext as _

State = Literal["sent", "refused", "waiting", "kept"]


@dataclass(frozen=True)
class SendingView:
    """The state in one word and in a sentence; `can_ask` offers to send (again)."""

    state: State
    text: str
    can_ask: bool


def sending_view(task: Resource | None, name: str, types: Sequence[str]) -> SendingView:
    """The view of the Task that sends a report to the record system `name`; `types` are what it
    would take in this launch. Without a Task nobody asked for the report to be sent."""
    words = {"name": name}
    if task is None:
        if types:
            return SendingView("kept", _("Not sent to %(name)s yet.") % words, True)
        text = _("Not sent: %(name)s did not permit it, or it is not set up. Download the report "
                 "and file it there.")  # fmt: skip
        return SendingView("kept", text % words, False)
    reason = task.get("statusReason", {}).get("text", "")
    match task["status"]:
        case "completed":
            return SendingView("sent", _("Sent to %(name)s.") % words, False)
        case "failed":
            text = _("Not all was sent to %(name)s; refused because: %(reason)s") % {
                **words,
                "reason": reason,
            }
            return SendingView("refused", text, True)
        case _ if reason:
            text = _("Waiting to be sent to %(name)s: %(reason)s") % {**words, "reason": reason}
            return SendingView("waiting", text, True)
        case _:
            return SendingView("waiting", _("Waiting to be sent to %(name)s.") % words, True)

"""The disclaimer in the language of the person at the screen, as their browser asks for it."""

from contextvars import ContextVar

from fhir_server.fhir.disclaimers import DEFAULT, DISCLAIMERS, Disclaimer, accepted_languages
from fhir_server.fhir.disclaimers import disclaimer as in_languages

_current: ContextVar[Disclaimer] = ContextVar("disclaimer", default=DISCLAIMERS[DEFAULT])


def prefer(accept_language: str) -> None:
    """Choose the language of this request's disclaimers by its header."""
    _current.set(in_languages(accepted_languages(accept_language)))


def disclaimer() -> Disclaimer:
    """The texts for the current request, with the language that they are in."""
    return _current.get()

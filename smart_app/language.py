"""gettext for templates and presenters (catalogues in `locale/`, domain `medsage`).

The language of a request is a context variable, so that pure presenters need no argument for it.
"""

from contextvars import ContextVar
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
DOMAIN = "medsage"
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})

_language: ContextVar[str] = ContextVar("language", default="en")


@cache
def _catalogue(language: str) -> NullTranslations:
    # English is the language of the source, so a missing catalogue means the text as written.
    return translation(DOMAIN, str(LOCALES), [language], fallback=True)


def speak(language: str) -> None:
    """Set the language of the texts made from here on in this request."""
    _language.set(language)


def language() -> str:
    """The BCP-47 tag of the current request's texts."""
    return _language.get()


def direction() -> str:
    """`ltr` or `rtl`, for the `dir` of the page."""
    return "rtl" if language().split("-")[0] in RIGHT_TO_LEFT else "ltr"


def gettext(text: str) -> str:
    """`text` in the current language."""
    return _catalogue(language()).gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """The right plural form for `count` in the current language."""
    return _catalogue(language()).ngettext(one, many, count)


def mark(text: str) -> str:
    """`text` as it is: marks a constant for the catalogue, to be translated when it is shown."""
    return text

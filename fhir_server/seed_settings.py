"""Names of settings: the older ones that still work, and the misspelt ones that stop the start.

MedSAGE's first prototype was configured by eight variables without a prefix. Each is understood
as one setting of today; where both are set, the `MEDSAGE_` name wins.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from fhir_server.settings import Settings

PREFIX = "MEDSAGE_"
SECRETS_DIR = "MEDSAGE_SECRETS_DIR"
"""Names the folder of secret files; read before the settings are."""
_FOR_TESTS = "MEDSAGE_TEST_"
_OF_OTHERS = frozenset({"MEDSAGE_MONGODB_STANDIN", "MEDSAGE_PROCESSES"})
"""Read by `medsage dev mongodb` and by `deploy.sh --processes` alone."""
_PROFILES = {"development": "dev", "testing": "dev", "staging": "staging", "production": "prod"}
_SECRET = frozenset({"MONGODB_URI", "SECRET_KEY", "GOOGLE_AI_API_KEY"})


def _as_written(value: str) -> str:
    return value


def _profile(value: str) -> str:
    """What FLASK_ENV said, as a profile; another word goes on and is refused by the setting."""
    return _PROFILES.get(value.strip().lower(), value)


def _severity(value: str) -> str:
    word = value.strip().lower()
    return {"critical": "error", "warn": "warning"}.get(word, word)


SEED_NAMES: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "MONGODB_URI": ("MEDSAGE_MONGODB_URI", _as_written),
    "DATABASE_NAME": ("MEDSAGE_MONGODB_DATABASE", _as_written),
    "SECRET_KEY": ("MEDSAGE_SECRET_KEY", _as_written),
    "GOOGLE_AI_API_KEY": ("MEDSAGE_GEMINI_API_KEY", _as_written),
    "MAX_CONTENT_LENGTH": ("MEDSAGE_MAX_UPLOAD_BYTES", _as_written),
    "LOG_LEVEL": ("MEDSAGE_LOG_LEVEL", _severity),
    "HEALTH_CHECK_INTERVAL": ("MEDSAGE_HEALTH_SECONDS", _as_written),
    "FLASK_ENV": ("MEDSAGE_PROFILE", _profile),
}
"""Older name → the setting of today, and how its value is written now."""


def known_names() -> frozenset[str]:
    """Every `MEDSAGE_` variable that means something."""
    return frozenset(PREFIX + field.upper() for field in Settings.model_fields) | {SECRETS_DIR}


def translated(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The `MEDSAGE_` variables that the older names in `environ` stand for, and a line for the
    start log on each; lines show no secret. Empty values count as not set."""
    found: dict[str, str] = {}
    lines = []
    for old, (new, convert) in SEED_NAMES.items():
        value = environ.get(old, "")
        if not value.strip():
            continue
        if environ.get(new):
            lines.append(f"{old} is not used: {new} is set too")
            continue
        found[new] = convert(value)
        shown = "(not shown)" if old in _SECRET else found[new]
        lines.append(f"{old} is read as {new} = {shown}")
    return found, lines


def unknown_names(names: Iterable[str]) -> list[str]:
    """A line for each `MEDSAGE_` name (of an environment, or in capitals of a secret file) that
    no setting has, with the nearest real one."""
    known = known_names()
    lines = []
    for name in sorted(names):
        is_other = not name.startswith(PREFIX) or name.startswith(_FOR_TESTS)
        if is_other or name in _OF_OTHERS or name in known:
            continue
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        lines.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return lines

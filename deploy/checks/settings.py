"""The settings in force, and what must not be run with."""

from collections.abc import Iterator

from pydantic import SecretStr

from deploy.refusals import problems
from fhir_server.app import sign_in_rules
from fhir_server.findings import Finding
from fhir_server.load_settings import UnusableSettings
from fhir_server.seed_settings import PREFIX
from fhir_server.settings import Settings


def effective(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every setting with its value as text; of secrets only whether they are set."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        yield f"{PREFIX}{name.upper()}", _shown(value)


def _shown(value: object) -> str:
    match value:
        case SecretStr():
            return "(set, not shown)"
        case None | "":
            return "(not set)"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def profile_findings(settings: Settings) -> Iterator[Finding]:
    """One for each thing that stops a start, or one that says that nothing does."""
    found = problems(settings)
    try:
        sign_in_rules(settings)
    except UnusableSettings as problem:
        found.append(str(problem))
    for each in found:
        name, _, text = each.partition(": ")
        yield Finding(name, "failed", text, f"Change {name}: see .env.example")
    if not found:
        yield Finding("Settings", "ok", f"good for the profile {settings.profile}")

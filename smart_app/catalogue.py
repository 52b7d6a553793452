"""The catalogue of texts: `python -m smart_app.catalogue` extracts it from code and templates.

Writes `locale/medsage.pot` and brings `locale/en` up to date; a test fails when they lag behind.
"""

from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from fhir_server.fhir.assessment import HISTORY_CODES, SYMPTOM_CODES, TRAVEL_DATES, VITAL_SIGNS
from smart_app.language import DOMAIN, LOCALES

HERE = Path(__file__).parent
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false"}}
KEYWORDS = {"_": None, "gettext": None, "mark": None, "ngettext": (1, 2)}


# The date in the header must not make two extractions differ.
STARTED = datetime(2026, 11, 1, tzinfo=UTC)


def _questions() -> list[str]:
    symptoms = [display for display, _danger in SYMPTOM_CODES.values()]
    return [*symptoms, *HISTORY_CODES.values(), *TRAVEL_DATES.values()]


def _vital_signs() -> list[str]:
    return [sign.display for sign in VITAL_SIGNS.values()]


def extract() -> Catalog:
    """Every marked text of the app, with the files it is in (no line numbers: they drift)."""
    catalogue = Catalog("en", DOMAIN, project="MedSAGE", charset="utf-8", fuzzy=False)
    catalogue.header_comment = "# Texts of the MedSAGE app; English is the source."
    catalogue.creation_date = catalogue.revision_date = STARTED
    for text in (*_questions(), *_vital_signs()):
        catalogue.add(text, locations=[("fhir_server/fhir/assessment.py", 1)])
    for found in extract_from_dir(str(HERE), METHODS, OPTIONS, KEYWORDS, strip_comment_tags=True):
        filename, line, message, comments, context = found
        catalogue.add(
            message, locations=[(filename, line)], auto_comments=comments, context=context
        )
    return catalogue


def main() -> None:
    """Write the template and the English catalogue (whose texts are the source's own)."""
    catalogue = extract()
    english = LOCALES / "en" / "LC_MESSAGES"
    english.mkdir(parents=True, exist_ok=True)
    for path in (LOCALES / f"{DOMAIN}.pot", english / f"{DOMAIN}.po"):
        with path.open("wb") as file:
            write_po(file, catalogue, width=100, sort_output=True, include_lineno=False)


if __name__ == "__main__":
    main()

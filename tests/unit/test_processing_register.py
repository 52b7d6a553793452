"""The register of processing activities (GDPR article 30) says what settings and code do."""

import json
from pathlib import Path

import pytest

from deploy.commands.patient_keeping import processing
from deploy.processing_register import as_markdown, register
from fhir_server.load_settings import load
from models.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {"name", "purpose", "persons", "categories of data", "recipients", "kept"}


def text(**given: str) -> str:
    settings, _ = load({f"MEDSAGE_{name.upper()}": value for name, value in given.items()})
    return as_markdown(register(settings))


def test_the_page_is_current() -> None:
    page = ROOT / "docs" / "processing-register.md"
    stale = "run medsage patient register > docs/processing-register.md, without settings"
    assert page.read_text("utf-8") == text(), stale


def test_every_activity_says_what_article_30_asks_for() -> None:
    found = register(load({})[0])
    for activity in found["activities"]:
        assert {name for name, value in activity.items() if value} == NEEDED, activity["name"]
    images = next(each for each in found["activities"] if each["name"] == "image analysis")
    assert all(name in images["purpose"] for name in MODELS)


def test_the_language_model_is_a_recipient_once_it_is_configured() -> None:
    assert "Gemini" not in text()
    assert "none by the software" in text()
    configured = text(gemini_api_key="s3cret-key", gemini_model="gemini-2.5-flash")
    assert configured.count("Google (Gemini API), model gemini-2.5-flash: redacted facts") == 2
    assert "s3cret-key" not in configured
    elsewhere = text(gemini_api_key="k", gemini_base_url="https://u:p@ai.example/v1?key=1")
    assert "Gemini API at ai.example, model" in elsewhere
    assert "u:p" not in elsewhere


def test_whoever_gets_something_of_a_patient_is_a_recipient() -> None:
    assert "addresses that Subscriptions name" in text()
    assert "record systems that launch the app" in text()
    assert "backup at" not in text()
    assert text(backup_target="s3://bucket.example/x").count("backup at bucket.example") == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("consent_policy", "opt-in", "a patient who has said nothing does not share"),
        ("emergency_minutes", "7", "emergency access for 7 minutes"),
        ("async_hours", "3", "results 3 h"),
        ("backup_target", "s3://bucket.example/x", "backup at bucket.example"),
        ("second_factor_roles", "doctor admin", "second factor for doctor admin"),
    ],
)
def test_settings_show(name: str, value: str, said: str) -> None:
    assert said not in text()
    assert said in text(**{name: value})


def test_the_command_prints_it_for_programs_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    processing(as_json=True, data=tmp_path)
    assert json.loads(capsys.readouterr().out)["activities"]

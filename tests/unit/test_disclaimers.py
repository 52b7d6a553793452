"""Disclaimers by language: each language has all, and the right one is chosen."""

from dataclasses import asdict
from typing import Any

import pytest

from fhir_server.fhir.disclaimers import (
    DISCLAIMERS,
    accepted_languages,
    disclaimer,
    languages_of,
)
from models.report import Results, conclusion
from models.wording import CAUTION
from smart_app import disclaimers as in_app
from smart_app.language import LOCALES
from tests.app_browser import World
from tests.app_records import PATIENT, report, smear_result
from tests.unit.test_report import ANALYSIS


def test_each_language_has_every_text_in_words_of_its_own() -> None:
    english = asdict(DISCLAIMERS["en"])
    for language, texts in DISCLAIMERS.items():
        said = asdict(texts)
        assert said.pop("language") == language
        assert all(text.endswith(".") for text in said.values())
        assert "negativ" not in str(said).lower()
        if language != "en":
            assert all(text != english[name] for name, text in said.items())
        assert said["use"].count(".") == 3, "who decides, and what it is and is not"


def test_every_language_of_the_apps_catalogues_has_disclaimers() -> None:
    catalogues = {path.name for path in LOCALES.iterdir() if path.is_dir()}
    assert catalogues <= DISCLAIMERS.keys()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-CH,de;q=0.9,en;q=0.5", "de"),
        ("en;q=0.2, fr;q=0.8", "fr"),
        ("sw, pt-BR;q=0.4", "pt"),
        ("es;q=0", "en"),
        ("de;q=much", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_the_best_language_that_there_is_is_chosen(header: str, language: str) -> None:
    assert disclaimer(accepted_languages(header)).language == language


def test_a_report_says_it_in_the_patients_language_too() -> None:
    patient: dict[str, Any] = {
        "communication": [
            {"language": {"coding": [{"code": "en"}]}},
            {"language": {"coding": [{"code": "fr-CI"}]}, "preferred": True},
        ]
    }
    assert languages_of(patient) == ["fr-CI", "en"]
    text = conclusion(Results(analysis=ANALYSIS), languages_of(patient))
    assert text.endswith(f"{CAUTION}\n\n{DISCLAIMERS['fr'].caution}")
    assert conclusion(Results(analysis=ANALYSIS)).endswith(CAUTION)
    assert conclusion(Results(analysis=ANALYSIS), ["en"]).count(CAUTION) == 1


async def test_pages_say_it_in_the_language_that_the_browser_asks_for() -> None:
    world = World()
    for resource in (PATIENT, smear_result("none-found", "None found by model")):
        world.records.put(resource)
    world.records.put({**report("smear", media=False), "status": "final"})
    browser = world.browser()
    chart = await browser.launch()
    german = {"accept-language": "de-AT, en;q=0.5"}
    shown = await browser.get(chart, **german)
    assert f'<p lang="de">{DISCLAIMERS["de"].use}</p>' in shown.text
    assert f'<p lang="en">{DISCLAIMERS["en"].use}</p>' in (await browser.get(chart)).text
    await browser.submit(f"{chart}reports/r1", f"{chart}reports/r1/print", what="report")
    printed = await browser.get(f"{chart}reports/r1/print/report", **german)
    said = DISCLAIMERS["de"]
    assert f'<span lang="de">{said.caution} {said.limits}</span>' in printed.text


def test_a_new_request_begins_in_english() -> None:
    in_app.prefer("fr")
    assert in_app.disclaimer() == DISCLAIMERS["fr"]
    in_app.prefer("")
    assert in_app.disclaimer().language == "en"

"""The Observation of a symptom analysis: every line says whom it came from."""

from typing import Any

from fhir_server.validation.validate import Validator
from models.report import Results, Submission, result_transaction
from models.symptom_report import EVIDENCE, LINE_ORIGIN, symptom_observation
from models.symptoms.card import symptom_card, symptom_system
from models.symptoms.port import Analysis
from models.symptoms.prompt import PROMPT_SHA256, chart_facts
from models.symptoms.red_flags import SafeAnalyst
from tests.language_model_double import Bench, ScriptedModel, recorded
from tests.vignettes import NOW, vignettes

ABOUT = {"subject": {"reference": "Patient/1"}}


async def joined() -> Analysis:
    """An analysis to which rules and a language model contributed."""
    answer = next(each for each in recorded() if each.id == "foul-possibilities")
    facts = vignettes()[answer.vignette].facts
    bench = Bench(ScriptedModel([answer.text(chart_facts(facts))]))
    return await SafeAnalyst(bench.analyst).analyse(facts)


async def observed() -> dict[str, Any]:
    return symptom_observation(await joined(), ABOUT, sources=(), device="Device/1")


def origin(component: dict[str, Any]) -> str:
    (found,) = (e for e in component["extension"] if e["url"] == LINE_ORIGIN)
    return str(found["valueCoding"]["code"])


def code(component: dict[str, Any]) -> str:
    return str(component["code"]["coding"][0]["code"])


async def test_every_line_says_whether_a_rule_or_a_language_model_said_it() -> None:
    observation = await observed()

    assert Validator().issues(observation) == ()
    for component in observation["component"]:
        of_model = code(component).startswith(("language-model", "prompt-", "input-"))
        assert origin(component) == ("language-model" if of_model else "rule"), code(component)


async def test_each_line_of_evidence_says_its_direction_and_the_rule_or_person_behind_it() -> None:
    observation = await observed()
    possible = [c for c in observation["component"] if code(c).endswith("possibility")]

    assert possible[0]["code"]["text"] == "Malaria"
    assert possible[-1]["code"]["text"] == "Pyelonephritis"
    for component in possible:
        lines = [e["extension"] for e in component["extension"] if e["url"] == EVIDENCE]
        assert lines
        for line in lines:
            parts = {part["url"]: part for part in line}
            assert parts["direction"]["valueCode"] in ("for", "against")
            assert parts["text"]["valueString"]
            said_by = parts["origin"]["valueCoding"]["code"]
            assert said_by == ("rule" if "rule" in parts else "person")


async def test_the_prompt_is_named_in_the_observation_and_in_the_device() -> None:
    analysis = await joined()
    told = {code(c): c["valueString"] for c in (await observed())["component"]}
    assert PROMPT_SHA256 in told["prompt-version"]
    assert told["input-hash"].startswith("sha256 ")
    assert "answer-kept" not in told

    system = symptom_system(analysis, symptom_card())
    task = {
        "resourceType": "Task",
        "id": "t1",
        "meta": {"versionId": "1"},
        "status": "in-progress",
        "intent": "order",
        "for": {"reference": "Patient/1"},
        "owner": {"reference": "Device/w"},
    }
    results = Results(analysis=analysis, analysis_system=system)
    numbers = iter(range(100))
    unit = result_transaction(
        Submission(task), results, now=NOW, new_uuid=lambda: str(next(numbers))
    )
    (device,) = (e["resource"] for e in unit["entry"] if e["resource"]["resourceType"] == "Device")
    assert PROMPT_SHA256[:12] in device["identifier"][0]["value"]
    assert "scripted-1" in device["identifier"][0]["value"]


async def test_without_a_language_model_nothing_speaks_of_one() -> None:
    facts = vignettes()["pregnant-fever"].facts
    analysis = await SafeAnalyst().analyse(facts)
    observation = symptom_observation(analysis, ABOUT, sources=(), device="Device/1")

    assert {origin(component) for component in observation["component"]} == {"rule"}
    assert symptom_system(analysis, symptom_card()).kinds == ("Rule-Based-Systems",)

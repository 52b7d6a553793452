"""The Google Gen AI adapter against a local endpoint that speaks the provider's protocol."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from models.symptoms.answer_cache import MemoryCache
from models.symptoms.circuit import CircuitBreaker
from models.symptoms.facts import SymptomFacts
from models.symptoms.gemini import GeminiEndpoint, GeminiModel
from models.symptoms.language_model import Guards, LanguageAnalyst
from models.symptoms.port import NoAnswer, Urgency
from models.symptoms.red_flags import SafeAnalyst
from models.symptoms.usage import Prices, Usage

pytest.importorskip("google.genai")

FACTS = SymptomFacts(
    date(2026, 11, 24),
    age_years=30,
    vitals={"temperature": 38.5},
    symptoms={"fever": "yes", "convulsions": "yes"},
    text="Ada Lovelace, MRN0012345, was given 80 mg; fever since 2026-11-20",
    identifiers=("Ada", "Lovelace"),
)
GOOD = {
    "language": "en",
    "urgency": "urgent",
    "summary": [{"text": "There is fever.", "facts": ["F4"]}],
    "next_steps": [{"text": "Do a blood smear.", "facts": ["F4"]}],
    "differential": [{"name": "Malaria", "facts_for": ["F4"], "facts_against": []}],
}


class Provider:
    """What the endpoint answers next, and what it was asked."""

    def __init__(self) -> None:
        self.text = json.dumps(GOOD)
        self.status = 200
        self.delay_seconds = 0.0
        self.asked: list[dict[str, Any]] = []
        self.url = ""


@pytest.fixture
def provider() -> Iterator[Provider]:
    state = Provider()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            state.asked.append(json.loads(self.rfile.read(length)))
            time.sleep(state.delay_seconds)
            content = {
                "candidates": [{"content": {"parts": [{"text": state.text}]}}],
                "usageMetadata": {
                    "promptTokenCount": 700,
                    "candidatesTokenCount": 90,
                    "thoughtsTokenCount": 10,
                },
            }
            body = json.dumps(content).encode()
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            with suppress(ConnectionError):  # a client that waited long enough is gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


def analyst(
    provider: Provider,
    timeout_seconds: float = 20.0,
    registry: CollectorRegistry | None = None,
) -> LanguageAnalyst:
    endpoint = GeminiEndpoint("key", base_url=provider.url, timeout_seconds=timeout_seconds)
    clock = time.monotonic
    usage = Usage(registry or CollectorRegistry(), Prices(0.5, 2.0))
    guards = Guards(CircuitBreaker(clock), MemoryCache(clock), usage, clock, timeout_seconds)
    return LanguageAnalyst(GeminiModel(endpoint), guards)


async def test_a_typed_answer_becomes_an_analysis_tied_to_chart_facts(provider: Provider) -> None:
    analysis = await analyst(provider).analyse(FACTS)

    assert analysis.urgency is Urgency.URGENT
    assert [s.text for s in analysis.statements] == ["There is fever.", "Do a blood smear."]
    assert analysis.statements[0].facts == ("Body temperature: 38.5 °C",)
    assert analysis.possibilities[0].name == "Malaria"


async def test_nothing_that_names_the_patient_and_no_dose_is_sent(provider: Provider) -> None:
    await analyst(provider).analyse(FACTS)

    sent = json.dumps(provider.asked)
    for secret in ("Ada", "Lovelace", "MRN0012345", "80 mg", "2026-11-20"):
        assert secret not in sent
    assert "[name]" in sent
    assert "responseJsonSchema" in sent


async def test_tokens_and_cost_are_counted_as_the_provider_tells_them(provider: Provider) -> None:
    registry = CollectorRegistry()

    await analyst(provider, registry=registry).analyse(FACTS)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"model": "gemini-2.5-flash", **labels})

    assert value("medsage_language_model_tokens_total", direction="input") == 700
    assert value("medsage_language_model_tokens_total", direction="output") == 100
    assert value("medsage_language_model_cost_dollars_total") == pytest.approx(0.00055)


async def test_a_throttled_question_is_not_asked_again_by_the_client(provider: Provider) -> None:
    provider.status = 429
    asking = analyst(provider)

    for _ in range(2):
        with pytest.raises(NoAnswer):
            await asking.analyse(FACTS)

    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    "sentence",
    [
        {"text": "Give 80 mg of artemether.", "facts": ["F4"]},
        {"text": "The patient travelled to Malawi.", "facts": ["F99"]},
        {"text": "Malaria is excluded.", "facts": ["F4"]},
        {"text": "The smear is negative.", "facts": ["F4"]},
    ],
)
async def test_sentences_with_doses_or_without_chart_facts_are_left_out(
    provider: Provider, sentence: dict[str, Any]
) -> None:
    provider.text = json.dumps({**GOOD, "next_steps": [sentence]})

    analysis = await analyst(provider).analyse(FACTS)

    assert [s.text for s in analysis.statements] == ["There is fever."]
    assert "1 sentence of" in analysis.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}",
        json.dumps({**GOOD, "urgency": "calm"}),
        json.dumps({**GOOD, "extra": 1}),
        json.dumps({**GOOD, "summary": [], "next_steps": []}),
    ],
)
async def test_an_answer_outside_the_schema_is_no_answer(provider: Provider, text: str) -> None:
    provider.text = text

    with pytest.raises(NoAnswer):
        await analyst(provider).analyse(FACTS)


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
async def test_a_failing_provider_is_no_answer(provider: Provider, status: int) -> None:
    provider.status = status

    with pytest.raises(NoAnswer, match="the provider failed"):
        await analyst(provider).analyse(FACTS)


async def test_a_late_answer_leaves_the_rules_alone_and_the_urgency_as_they_say(
    provider: Provider,
) -> None:
    warm = analyst(provider, timeout_seconds=20.0)
    await warm.analyse(FACTS)  # so that the import is not what is late
    provider.delay_seconds = 2.0

    analysis = await SafeAnalyst(analyst(provider, timeout_seconds=0.5)).analyse(FACTS)

    assert analysis.urgency is Urgency.EMERGENCY
    assert "No result from the language model" in analysis.notes[-1]


async def test_a_calm_language_model_can_not_lower_the_urgency(provider: Provider) -> None:
    provider.text = json.dumps({**GOOD, "urgency": "routine"})

    analysis = await SafeAnalyst(analyst(provider)).analyse(FACTS)

    assert analysis.urgency is Urgency.EMERGENCY
    assert analysis.statements

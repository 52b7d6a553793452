"""Symptom analysis by Google Gen AI: redacted facts out, a typed and grounded answer back.

The provider's failure, a late answer, an answer outside the schema, or one in which nothing is
grounded is NoAnswer. Sentences that rest on no chart fact, or that give a dose, are dropped.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, NoAnswer, Possibility, Statement, Urgency
from models.symptoms.prompt import INSTRUCTIONS, PROMPT_VERSION, chart_facts, prompt
from models.symptoms.redact import has_dose
from models.symptoms.schema import SCHEMA_VERSION, GroundedSentence, ModelAnswer

if TYPE_CHECKING:
    from google.genai import Client


@dataclass(frozen=True)
class GeminiEndpoint:
    """Where and how the provider is asked; `base_url` None is Google's own, `tls` None believes
    the authorities of the system."""

    api_key: str
    model: str = "gemini-2.5-flash"
    base_url: str | None = None
    timeout_seconds: float = 8.0
    tls: ssl.SSLContext | None = None


class GeminiAnalyst:
    """The adapter; it makes its client on the first question, so a start costs nothing."""

    def __init__(self, endpoint: GeminiEndpoint) -> None:
        self._endpoint = endpoint
        self._client: Client | None = None

    @property
    def origin(self) -> str:
        return f"{self._endpoint.model} (prompt {PROMPT_VERSION}, schema {SCHEMA_VERSION})"

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """One question within the time limit; NoAnswer when nothing acceptable came back."""
        numbered = chart_facts(facts)
        try:
            async with asyncio.timeout(self._endpoint.timeout_seconds):
                text = await self._ask(prompt(numbered))
        except TimeoutError as late:
            raise NoAnswer("the provider did not answer in time") from late
        try:
            answer = ModelAnswer.model_validate_json(text)
        except ValidationError as wrong:
            raise NoAnswer("the provider's answer was not of the agreed shape") from wrong
        return self._analysis(answer, numbered)

    async def _ask(self, text: str) -> str:
        if self._client is None:
            # The import takes over a second: off the loop, and only when it is needed.
            self._client = await asyncio.to_thread(_connect, self._endpoint)
        from google.genai import types

        config = types.GenerateContentConfig(
            system_instruction=INSTRUCTIONS,
            temperature=0,
            seed=1,
            response_mime_type="application/json",
            response_json_schema=ModelAnswer.model_json_schema(),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        try:
            response = await self._client.aio.models.generate_content(
                model=self._endpoint.model, contents=text, config=config
            )
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as failure:
            # The client raises errors of its own, of its HTTP library and of pydantic; none of
            # them may stop the rules. The text may repeat the prompt, so only its kind is told.
            raise NoAnswer(f"the provider failed ({type(failure).__name__})") from failure
        return response.text or ""

    def _analysis(self, answer: ModelAnswer, numbered: Mapping[str, str]) -> Analysis:
        statements = _grounded([*answer.summary, *answer.next_steps], numbered)
        if not statements:
            raise NoAnswer("nothing in the provider's answer rests on the chart")
        dropped = len(answer.summary) + len(answer.next_steps) - len(statements)
        return Analysis(
            origin=self.origin,
            urgency=Urgency[answer.urgency.upper()],
            statements=statements,
            possibilities=tuple(
                Possibility(
                    item.name,
                    _lines(item.facts_for, numbered),
                    _lines(item.facts_against, numbered),
                    self.origin,
                )
                for item in answer.differential
                if not has_dose(item.name) and _lines(item.facts_for, numbered)
            ),
            notes=(f"{dropped} sentences of the language model were left out.",) if dropped else (),
        )


def _connect(endpoint: GeminiEndpoint) -> "Client":
    from google import genai

    options = genai.types.HttpOptions(
        base_url=endpoint.base_url,
        timeout=int(endpoint.timeout_seconds * 1000),
        async_client_args={"verify": endpoint.tls} if endpoint.tls else None,
    )
    return genai.Client(api_key=endpoint.api_key, vertexai=False, http_options=options)


def _lines(numbers: Iterable[str], numbered: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(numbered[number] for number in numbers if number in numbered)


def _grounded(
    sentences: Iterable[GroundedSentence], numbered: Mapping[str, str]
) -> tuple[Statement, ...]:
    """Sentences whose facts all exist and that hold no dose and no word of exclusion."""
    return tuple(
        Statement(sentence.text, _lines(sentence.facts, numbered))
        for sentence in sentences
        if set(sentence.facts) <= numbered.keys()
        and not has_dose(sentence.text)
        and not _excludes(sentence.text)
    )


def _excludes(text: str) -> bool:
    folded = text.casefold()
    return "negative" in folded or ("malaria" in folded and "exclude" in folded)

"""The language model of Google Gen AI, behind the port of `language_model.py`."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.symptoms.language_model import ProviderFailure, Reply
from models.symptoms.prompt import INSTRUCTIONS
from models.symptoms.schema import ModelAnswer

if TYPE_CHECKING:
    from google.genai import Client

_MOST_TOKENS = 4096  # of an answer, the model's thinking included
_THROTTLED = 429


@dataclass(frozen=True)
class GeminiEndpoint:
    """Where and how the provider is asked; `base_url` None is Google's own, `tls` None believes
    the authorities of the system."""

    api_key: str
    model: str = "gemini-2.5-flash"
    base_url: str | None = None
    timeout_seconds: float = 8.0
    tls: ssl.SSLContext | None = None


class GeminiModel:
    """The adapter; it makes its client on the first question, so a start costs nothing."""

    def __init__(self, endpoint: GeminiEndpoint) -> None:
        self._endpoint = endpoint
        self._client: Client | None = None

    @property
    def name(self) -> str:
        return self._endpoint.model

    async def ask(self, question: str) -> Reply:
        """One reply, without the client's own repeats: the caller has a time limit and a circuit
        breaker. Raises ProviderFailure for whatever goes wrong."""
        if self._client is None:
            # The import takes over a second: off the loop, and only when it is needed.
            self._client = await asyncio.to_thread(_connect, self._endpoint)
        from google.genai import types

        config = types.GenerateContentConfig(
            system_instruction=INSTRUCTIONS,
            temperature=0,
            seed=1,
            max_output_tokens=_MOST_TOKENS,
            response_mime_type="application/json",
            response_json_schema=ModelAnswer.model_json_schema(),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        try:
            response = await self._client.aio.models.generate_content(
                model=self._endpoint.model, contents=question, config=config
            )
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as failure:
            # The client raises errors of its own, of its HTTP library and of pydantic; none of
            # them may stop the rules. The text may repeat the prompt, so only its kind is told.
            is_throttled = getattr(failure, "code", None) == _THROTTLED
            raise ProviderFailure(type(failure).__name__, is_throttled=is_throttled) from failure
        return _reply(response)


def _reply(response: Any) -> Reply:
    counted = response.usage_metadata
    if counted is None:
        return Reply(response.text or "")
    thought = counted.thoughts_token_count or 0
    output = (counted.candidates_token_count or 0) + thought
    return Reply(response.text or "", counted.prompt_token_count or 0, output)


def _connect(endpoint: GeminiEndpoint) -> "Client":
    from google import genai

    options = genai.types.HttpOptions(
        base_url=endpoint.base_url,
        timeout=int(endpoint.timeout_seconds * 1000),
        async_client_args={"verify": endpoint.tls} if endpoint.tls else None,
    )
    return genai.Client(api_key=endpoint.api_key, vertexai=False, http_options=options)

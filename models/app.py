"""The HTTP face of the models: what they are (`GET /models`), the worker's wake-up call
(`POST /models/notifications`) and the seed's API (`POST /api/diagnose`)."""

import secrets
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from models.card import ModelCard
from models.diagnose import Diagnosis, diagnose_router
from models.regulatory.pages import model_facts
from models.symptoms.answer_cache import MemoryCache
from models.symptoms.circuit import CircuitBreaker
from models.symptoms.gemini import GeminiEndpoint, GeminiModel
from models.symptoms.language_model import Guards, LanguageAnalyst
from models.symptoms.port import SymptomAnalyst
from models.symptoms.red_flags import SafeAnalyst
from models.symptoms.usage import Usage
from models.worker_device import SECRET_HEADER

_MOST_BODY_BYTES = 64 * 1024


def symptom_analyst(gemini: GeminiEndpoint | None, usage: Usage) -> SymptomAnalyst:
    """The rules, joined by Google Gen AI when there is an endpoint (with its key). `usage` counts
    what is asked and what it costs."""
    if gemini is None:
        return SafeAnalyst()
    clock = time.monotonic
    guards = Guards(CircuitBreaker(clock), MemoryCache(clock), usage, clock, gemini.timeout_seconds)
    return SafeAnalyst(LanguageAnalyst(GeminiModel(gemini), guards))


def create_models_app(
    diagnosis: Diagnosis,
    wake: Callable[[], None],
    *,
    secret: str,
    cards: Callable[[], Sequence[ModelCard]],
) -> FastAPI:
    """All routes of the models as one ASGI app; its paths are absolute, so it is mounted at the
    root or its routers are taken over one by one."""
    app = FastAPI(title="MedSAGE models")
    app.include_router(diagnose_router(diagnosis))
    app.include_router(notifications_router(wake, secret))
    app.include_router(cards_router(cards))
    return app


def notifications_router(wake: Callable[[], None], secret: str) -> APIRouter:
    """`POST /models/notifications`: whoever knows the secret may wake the worker. What is sent
    is read to its end and thrown away: the worker looks for itself."""
    router = APIRouter()

    @router.post("/models/notifications", include_in_schema=False)
    async def notified(request: Request) -> Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not secrets.compare_digest(given.encode(), secret.encode()):
            return Response(status_code=403)
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > _MOST_BODY_BYTES:
                return Response(status_code=413)
        wake()
        return Response(status_code=204)

    return router


def cards_router(cards: Callable[[], Sequence[ModelCard]]) -> APIRouter:
    """`GET /models`: the card of every installed version, as JSON or, for a browser, as a page;
    which of them is in use is the registry's to say (ADR 0021). `GET /models/facts`: what HTI-1
    asks about each."""
    router = APIRouter()

    @router.get("/models", summary="Facts about the installed model versions")
    async def facts(request: Request) -> Response:
        shown = cards()
        if "text/html" in request.headers.get("Accept", ""):
            return HTMLResponse(_page(shown))
        return JSONResponse({"models": [card.as_json() for card in shown]})

    @router.get("/models/facts", summary="The 31 source attributes of each model in use")
    async def source_attributes(request: Request) -> Response:
        found = model_facts(cards())
        if "text/html" in request.headers.get("Accept", ""):
            return HTMLResponse(_facts_page(found))
        return JSONResponse(found)

    return router


def _page(cards: Sequence[ModelCard]) -> str:
    parts = "".join(_article(card) for card in cards)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Models</title>'
        f"<h1>Models</h1><p>Research use; not a medical device; not for diagnosis.</p>{parts}"
    )


def _facts_page(facts: dict[str, Any]) -> str:
    parts = []
    for model in facts["models"]:
        rows = "".join(
            f"<dt>{escape(each['id'])} {escape(each['asked'])}</dt><dd>{escape(each['known'])}</dd>"
            for each in model["facts"]
        )
        name = f"{escape(model['name'])} {escape(model['version'])}"
        parts.append(f"<article><h2>{name}</h2><dl>{rows}</dl></article>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Model facts</title>'
        f"<h1>Model facts</h1><p>{escape(facts['notice'])}</p>{''.join(parts)}"
    )


def _article(card: ModelCard) -> str:
    rows = "".join(
        f"<dt>{escape(_words(name))}</dt><dd>{_value(value)}</dd>"
        for name, value in card.as_json().items()
        if value
    )
    return f"<article><h2>{escape(card.name)} {escape(card.version)}</h2><dl>{rows}</dl></article>"


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "<br>".join(f"{escape(str(k))}: {escape(str(v))}" for k, v in value.items())
    if isinstance(value, list):
        return "<br>".join(escape(str(line)) for line in value)
    return escape(str(value))

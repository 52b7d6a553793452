"""What a process is put together from."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from deploy.front import Front
from deploy.health import Check
from deploy.keys import Keys
from fhir_server.settings import Settings


@dataclass
class Process:
    """The front and, as they are added, its parts. `http` reaches the server role under its
    public address; `others` holds the routes outside the parts; `running` is what goes on in the
    background until it is cancelled, after `stopping` has asked it to end."""

    settings: Settings
    keys: Keys
    origins: Sequence[str]
    front: Front
    http: httpx.AsyncClient
    others: FastAPI
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    parts: dict[str, ASGIApp] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    running: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    stopping: list[Callable[[], None]] = field(default_factory=list)

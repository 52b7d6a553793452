"""What a process is put together from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from deploy.background import Work
from deploy.draining import Draining
from deploy.front import Front
from deploy.health import Check, Readiness
from deploy.keys import Keys
from fhir_server.security.limits import NO_LIMITS, RateLimits
from fhir_server.settings import Settings


@dataclass
class Process:
    """The front and, as they are added, its parts. `http` reaches the server role under its
    public address; `others` holds the routes outside the parts; `running` is what goes on behind
    the requests; `before_metrics` brings the metrics up to now when they are asked for; `draining`
    says that the process is about to end, `refusals` are what parts say when too
    much is in hand, `is_traced` whether spans are recorded."""

    settings: Settings
    keys: Keys
    origins: Sequence[str]
    front: Front
    http: httpx.AsyncClient
    others: FastAPI
    limits: RateLimits = NO_LIMITS
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    parts: dict[str, ASGIApp] = field(default_factory=dict)
    refusals: dict[str, ASGIApp] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    running: list[Work] = field(default_factory=list)
    before_metrics: list[Check] = field(default_factory=list)
    draining: Draining = field(default_factory=Draining)
    is_traced: bool = False
    readiness: Readiness = field(init=False)

    def __post_init__(self) -> None:
        self.readiness = Readiness(self.checks, self.settings.health_seconds, self.draining.check)

"""`/health` (the process lives), `/health/ready` (it can do its work) and `/api/metrics`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], Awaitable[object]]


@dataclass
class Readiness:
    """Asks each part whether it works, at most once per interval and never twice at a time."""

    checks: Mapping[str, Check]
    interval_seconds: float
    staying: Check | None = None
    """Fails from the moment that the process is about to end; asked each time."""
    clock: Callable[[], float] = time.monotonic
    borne: set[str] = field(default_factory=set)
    """What the process can do without, once it was there: its failure is told and no more."""
    doubts: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """What makes one of the checks due before its time."""
    _asked: float = field(default=float("-inf"), init=False)
    _found: dict[str, str] = field(default_factory=dict, init=False)
    _worked: set[str] = field(default_factory=set, init=False)
    _looking: asyncio.Future[None] | None = field(default=None, init=False)

    @property
    def known(self) -> Mapping[str, str]:
        """What did not work when it was asked last."""
        return self._found

    async def problems(self) -> dict[str, str]:
        """What does not work: the part's name and the kind of failure. Empty when all is well.
        A failure is looked at again with the next question."""
        leaves = None if self.staying is None else await _problem(self.staying)
        return await self._problems() | ({} if leaves is None else {"process": leaves})

    async def _problems(self) -> dict[str, str]:
        is_due = self.clock() - self._asked >= self.interval_seconds
        if is_due or self._found or any(doubt() for doubt in self.doubts.values()):
            if self._looking is None:
                self._looking = asyncio.ensure_future(self._look())
            # Who goes away does not end it for the others.
            await asyncio.shield(self._looking)
        return self._found

    async def _look(self) -> None:
        self._asked = self.clock()
        try:
            self._found = {
                name: problem
                for name, check in self.checks.items()
                if (problem := await _problem(check)) is not None
            }
        finally:
            self._looking = None
        self._worked |= self.checks.keys() - self._found.keys()

    def is_kept_by(self, problems: Mapping[str, str]) -> bool:
        """Whether these keep the process from its work."""
        return not problems.keys() <= self.borne & self._worked


async def _problem(check: Check) -> str | None:
    try:
        await check()
    except Exception as failure:  # whatever it is, the answer is "not ready"
        return type(failure).__name__
    return None


def health_router(
    readiness: Readiness, metrics: CollectorRegistry, version: str, before: Sequence[Check] = ()
) -> APIRouter:
    """The three routes; none of them says anything about a patient. `before` is what brings
    the metrics up to now."""
    router = APIRouter()

    @router.get("/health", summary="The process lives")
    async def health() -> Response:
        return JSONResponse({"status": "ok", "version": version})

    @router.get("/health/ready", summary="The process can do its work")
    async def ready() -> Response:
        problems = await readiness.problems()
        is_kept = readiness.is_kept_by(problems)
        status = 503 if is_kept else 200
        body = {
            "status": "not ready" if is_kept else "ready",
            "checks": dict.fromkeys(readiness.checks, "ok") | problems,
        }
        return JSONResponse(body, status, headers={"Retry-After": "5"} if is_kept else None)

    @router.get("/api/metrics", summary="Metrics for Prometheus")
    async def exposition() -> Response:
        for look in before:
            await look()
        return PlainTextResponse(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return router

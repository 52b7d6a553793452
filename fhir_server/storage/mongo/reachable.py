"""A lost connection, a server that failed, and a write that no majority acknowledged, in the port's
own words; patience with connections that end while the server is there; and a gate that lets nobody
wait for a server that is known to be gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from fhir_server.storage.mongo.codes import AWAY, codes_of
from fhir_server.storage.port import StoreAway, StoreUnavailable

ASK_SECONDS = 1.0
"""While the server is gone, one question in so long waits for it, and makes the driver look."""
PATIENCE_SECONDS = 10.0
"""For so long connections may end one after the other until whoever asks is told."""
_PAUSE_SECONDS = 0.05


class Gate:
    """Whether the server can be asked. Once a connection was lost, one question goes ahead (`ask`)
    and all others wait for its answer: a server that has just come back reads much before the
    first one, and does so for each of a hundred that come at once. Who asks while it is known to
    be gone is told so at once: waiting for each of them would fill the process."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._is_lost = False
        self._is_gone = False
        self._ask_at = float("-inf")
        self._ahead: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the server was found to be gone, and has not answered since."""
        return self._is_gone

    async def enter(self) -> None:
        """Return when the server can be asked. StoreAway while it is gone, but for one in
        ASK_SECONDS, and PyMongo's error when the question that went ahead failed."""
        if not self._is_lost:
            return
        if self._is_gone and (self._ahead is not None or self._clock() < self._ask_at):
            raise StoreAway("MongoDB")
        await self._answer()

    def lost(self) -> None:
        """A connection ended."""
        self._is_lost = True

    async def _answer(self) -> None:
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(self._go_ahead())
            self._ahead.add_done_callback(_looked_at)
        await asyncio.shield(self._ahead)

    async def _go_ahead(self) -> None:
        try:
            await self._ask()
            self._is_lost = self._is_gone = False
        except ServerSelectionTimeoutError:
            self._is_gone, self._ask_at = True, self._clock() + ASK_SECONDS
            raise
        finally:
            self._ahead = None


def _looked_at(ahead: "asyncio.Future[None]") -> None:
    """Those who waited may all have left: their failure is nobody's then."""
    if not ahead.cancelled():
        ahead.exception()


class Gated(Protocol):
    """Whose questions go through a gate."""

    gate: Gate


S = TypeVar("S", bound=Gated)
P = ParamSpec("P")
R = TypeVar("R")


def reachable(
    ask: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """`ask`, again when its connection ended, for PATIENCE_SECONDS; with StoreUnavailable in place
    of PyMongo's errors of connection and write concern and of those that are the server's own, and
    at once while it is known to be gone. For what does the same when it is asked twice."""
    return _gated(ask, repeats=True)


def reachable_once(
    ask: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """As `reachable`, for what may have been done when its connection ended."""
    return _gated(ask, repeats=False)


def _gated(
    ask: Callable[Concatenate[S, P], Awaitable[R]], *, repeats: bool
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    @wraps(ask)
    async def asked(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        end, may_be_done = time.monotonic() + PATIENCE_SECONDS, False
        while True:
            try:
                await store.gate.enter()
                may_be_done = not repeats
                return await ask(store, *args, **kwargs)
            except PyMongoError as failure:
                if isinstance(failure, ConnectionFailure):
                    store.gate.lost()
                if may_be_done or not _was_cut(failure) or time.monotonic() > end:
                    _tell(failure)
            await asyncio.sleep(_PAUSE_SECONDS)

    return asked


def _tell(failure: PyMongoError) -> NoReturn:
    if not _is_in_doubt(failure):
        raise failure
    raise StoreUnavailable(type(failure).__name__) from failure


def _was_cut(failure: PyMongoError) -> bool:
    """Whether a connection ended, or another server is the primary now. Who found no server has
    waited for one already."""
    return isinstance(failure, AutoReconnect) and not isinstance(
        failure, ServerSelectionTimeoutError
    )


def _is_in_doubt(failure: PyMongoError) -> bool:
    """Whether the server could not be asked, failed at it, or did not say that a majority has the
    write."""
    if not AWAY.isdisjoint(codes_of(failure)):
        return True
    if isinstance(failure, BulkWriteError):
        return not failure.details.get("writeErrors")
    return isinstance(failure, ConnectionFailure | WriteConcernError)

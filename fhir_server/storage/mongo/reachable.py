"""A lost connection, a server that failed, and a write that no majority acknowledged, in the port's
own words; and a gate that lets nobody wait for a server that is known to be gone."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pymongo import AsyncMongoClient
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from fhir_server.storage.mongo.codes import AWAY, codes_of
from fhir_server.storage.mongo.connect import Document
from fhir_server.storage.port import StoreAway, StoreUnavailable

ASK_SECONDS = 1.0
"""While the server is gone, one question in so long waits for it, and makes the driver look."""


class Gate:
    """Whether the server can be asked. Who asks while it is known to be gone is told so at once:
    with many callers, waiting for each of them would fill the process with those who wait."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._is_gone = False
        self._ask_at = float("-inf")

    @property
    def is_closed(self) -> bool:
        """Whether the server was found to be gone, and has not answered since."""
        return self._is_gone

    def enter(self) -> None:
        """StoreAway while the server is gone, but for one in ASK_SECONDS."""
        if not self._is_gone or self._client.topology_description.has_writable_server():
            return
        if self._clock() < self._ask_at:
            raise StoreAway("MongoDB")
        self._ask_at = self._clock() + ASK_SECONDS

    def leave(self, failure: Exception | None) -> None:
        """What became of a question."""
        if failure is None:
            self._is_gone = False
        elif isinstance(failure, ServerSelectionTimeoutError):
            self._is_gone, self._ask_at = True, self._clock() + ASK_SECONDS


class Gated(Protocol):
    """Whose questions go through a gate."""

    gate: Gate


S = TypeVar("S", bound=Gated)
P = ParamSpec("P")
R = TypeVar("R")


def reachable(
    ask: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """`ask`, with StoreUnavailable in place of PyMongo's errors of connection and write concern
    and of those that are the server's own, and at once while it is known to be gone."""

    @wraps(ask)
    async def asked(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        store.gate.enter()
        try:
            found = await ask(store, *args, **kwargs)
        except PyMongoError as failure:
            store.gate.leave(failure)
            if not _is_in_doubt(failure):
                raise
            raise StoreUnavailable(type(failure).__name__) from failure
        store.gate.leave(None)
        return found

    return asked


def _is_in_doubt(failure: PyMongoError) -> bool:
    """Whether the server could not be asked, failed at it, or did not say that a majority has the
    write."""
    if not AWAY.isdisjoint(codes_of(failure)):
        return True
    if isinstance(failure, BulkWriteError):
        return not failure.details.get("writeErrors")
    return isinstance(failure, ConnectionFailure | WriteConcernError)

"""A lost connection, and a write that no majority acknowledged, in the port's own words."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pymongo.errors import BulkWriteError, ConnectionFailure, PyMongoError, WriteConcernError

from fhir_server.storage.port import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


def reachable(ask: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`ask`, with StoreUnavailable in place of PyMongo's errors of connection and write
    concern."""

    @wraps(ask)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await ask(*args, **kwargs)
        except PyMongoError as failure:
            if not _is_in_doubt(failure):
                raise
            raise StoreUnavailable(type(failure).__name__) from failure

    return asked


def _is_in_doubt(failure: PyMongoError) -> bool:
    """Whether the server could not be asked, or did not say that a majority has the write."""
    if isinstance(failure, BulkWriteError):
        return not failure.details.get("writeErrors")
    return isinstance(failure, ConnectionFailure | WriteConcernError)

"""A lost connection in the port's own words."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pymongo.errors import ConnectionFailure

from fhir_server.storage.port import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


def reachable(ask: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`ask`, with StoreUnavailable in place of PyMongo's errors of connection."""

    @wraps(ask)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await ask(*args, **kwargs)
        except ConnectionFailure as lost:
            raise StoreUnavailable(type(lost).__name__) from lost

    return asked

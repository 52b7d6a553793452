"""What is known of the request that is being answered, for log lines and calls to other parts; its
trace is as in W3C Trace Context, "traceparent header field format".

Nothing of it is worked out before somebody asks, since most requests log nothing and call nobody.
No span is recorded or sent anywhere.
"""

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple

HEADER = "traceparent"
_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII,
)
_INVALID_VERSION = "ff"
_SAMPLED = 1


class Trace(NamedTuple):
    """A trace, and whether its caller records it; each call out is a span of its own."""

    id: str
    is_sampled: bool = False

    @property
    def outgoing(self) -> str:
        """The header of a call that belongs to this trace."""
        return f"00-{self.id}-{os.urandom(8).hex()}-{int(self.is_sampled):02x}"


class Answering:
    """The request with this id and these headers; `tenant` is its caller's, once that is known."""

    __slots__ = ("_headers", "_trace", "id", "tenant")

    def __init__(self, id: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.id = id
        self.tenant: str | None = None
        self._headers = headers
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace:
        """The caller's trace, or a new one; the same each time."""
        if self._trace is None:
            wanted = HEADER.encode()
            header = next((value for name, value in self._headers if name == wanted), None)
            self._trace = trace_of(None if header is None else header.decode("latin-1"))
        return self._trace


ANSWERING: ContextVar[Answering | None] = ContextVar("answering", default=None)
"""The request that is being answered in this task."""


def of_tenant(tenant: str) -> None:
    """The caller of the request is of this tenant."""
    answering = ANSWERING.get()
    if answering is not None:
        answering.tenant = tenant


def trace_of(header: str | None) -> Trace:
    """The trace that the header names; a new one where it is missing or not as the standard says.
    Of a later version only what version 00 has is read."""
    match = _FORM.fullmatch(header) if header is not None else None
    if match is None or _is_invalid(match):
        return Trace(os.urandom(16).hex())
    return Trace(match["trace"], bool(int(match["flags"], 16) & _SAMPLED))


def _is_invalid(match: re.Match[str]) -> bool:
    version = match["version"]
    is_longer_00 = version == "00" and match["more"] is not None
    is_empty = not match["trace"].strip("0") or not match["parent"].strip("0")
    return version == _INVALID_VERSION or is_longer_00 or is_empty

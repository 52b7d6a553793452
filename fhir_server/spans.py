"""Spans of traces: what took how long because of what. They are recorded where the composition has
opened a recorder (deploy/tracing); otherwise nothing is done, and no library of it is imported.

Names and attributes are words of this program alone: no id, no query, no address of a caller, no
text of an error, nothing of a patient.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Literal, Protocol

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | bool


class Span(Protocol):
    """One span while it lasts."""

    def called(self, name: str) -> None:
        """Its name, when it is known only now."""
        ...

    def note(self, name: str, value: Value) -> None:
        """One attribute more."""
        ...


class Recorder(Protocol):
    """Who keeps spans."""

    def span(
        self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]:
        """A span as long as the context is open; it belongs to the one that is open around it, or
        to `parent`, the value of a traceparent header. An exception that leaves it is noted by its
        type alone."""
        ...

    def current(self) -> str | None:
        """The traceparent of the span that is open here; None where none is."""
        ...


class _Nothing:
    """The span that nobody keeps."""

    __slots__ = ()

    def called(self, name: str) -> None:
        pass

    def note(self, name: str, value: Value) -> None:
        pass

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


_NOTHING = _Nothing()
_NONE: Mapping[str, Value] = {}
_recorder: Recorder | None = None


@contextmanager
def recorded_by(recorder: Recorder) -> Iterator[None]:
    """As long as the context is open, the spans of this process are kept by `recorder`."""
    global _recorder
    before, _recorder = _recorder, recorder
    try:
        yield
    finally:
        _recorder = before


def span(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    attributes: Mapping[str, Value] = _NONE,
) -> AbstractContextManager[Span]:
    """A span of its own, or of the one around it, or of `parent` (a traceparent)."""
    if _recorder is None:
        return _NOTHING
    return _recorder.span(name, kind, parent, attributes)


def within(
    name: str, kind: Kind = "internal", *, attributes: Mapping[str, Value] = _NONE
) -> AbstractContextManager[Span]:
    """A span where one is open around it: what goes on by itself behind the requests, several
    times a second, is not traced."""
    if _recorder is None or _recorder.current() is None:
        return _NOTHING
    return _recorder.span(name, kind, None, attributes)


def current() -> str | None:
    """The traceparent of the span that is open here, for whoever goes on with its trace."""
    return None if _recorder is None else _recorder.current()

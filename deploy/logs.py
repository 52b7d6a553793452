"""Log lines as JSON on stderr, one line each: from structlog and from the standard library. A line
that is written while a request is answered says its id, its trace and its caller's tenant."""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import structlog

from fhir_server.rest.trace import ANSWERING

_FRAMES = 12


def configure(level: str) -> None:
    """From now on everything at `level` or above is written; no line holds patient data."""
    shared: list[structlog.typing.Processor] = [
        _of_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_of_failure,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn.access", "google_genai", "pymongo"):
        # Their lines hold URLs or commands, and these what was searched for.
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _of_request(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """With the request that is being answered, if one is."""
    answering = ANSWERING.get()
    if answering is not None:
        event.update(request_id=answering.id, trace_id=answering.trace.id)
        if answering.tenant is not None:
            event["tenant"] = answering.tenant
    return event


def _place_of_failure(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """In place of an exception: its type and where it came from, as of those that led to it.
    Messages and local variables may hold tokens and patient data, so they stay out."""
    given = event.pop("exc_info", None)
    failure = sys.exc_info()[1] if given is True else given[1] if type(given) is tuple else given
    if isinstance(failure, BaseException):
        event["exception"] = list(_chain(failure))
    return event


def _chain(failure: BaseException) -> Iterator[dict[str, Any]]:
    seen: BaseException | None = failure
    while seen is not None:
        frames = traceback.extract_tb(seen.__traceback__)[-_FRAMES:]
        places = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames]
        yield {"type": type(seen).__name__, "at": places}
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)

"""The only translator of what went wrong into an answer."""

import logging
import traceback

from fhir_server.fhir.outcome import FhirError, busy, conflict, error, full
from fhir_server.storage.port import StoreAway, StoreFull, StoreUnavailable, VersionConflict

_log = logging.getLogger("fhir_server.errors")


def translated(failure: Exception, request_id: str) -> FhirError:
    """The refusal that the caller sees. An unknown failure shows its request id and nothing
    else; the log has where it happened, without the values that were at hand."""
    match failure:
        case FhirError():
            return failure
        case VersionConflict():
            return conflict("another write came first; read the current version and try again")
        case StoreFull():
            log_failure(failure, request_id)
            return full("the disk of the store is full", retry_after_seconds=60)
        case StoreUnavailable():
            log_failure(failure, request_id)
            return busy("the store can't be reached now", retry_after_seconds=5)
        case TimeoutError():
            return busy("the server is busy", retry_after_seconds=2)
        case _:
            log_failure(failure, request_id)
            return error(500, "exception", f"internal error; request id {request_id}")


def log_failure(failure: BaseException, request_id: str) -> None:
    """One log line with type, cause and place of the failure: its message may quote a resource.
    None for each of the many who ask while the store is away: who found that out has told it."""
    if isinstance(failure, StoreAway):
        return
    frames = traceback.extract_tb(failure.__traceback__)[-8:]
    place = " < ".join(
        f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames)
    )
    what = type(failure).__name__
    if failure.__cause__ is not None:
        what += f" by {type(failure.__cause__).__name__}"
    _log.error("request %s failed: %s at %s", request_id, what, place)

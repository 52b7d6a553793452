"""Time and ids of a running process; everything below is handed them."""

import uuid
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random id, as an R4 id and as a UUID."""
    return str(uuid.uuid4())

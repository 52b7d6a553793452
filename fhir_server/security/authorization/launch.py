"""EHR launch contexts (SMART App Launch 2.2, "EHR launch").

A launch is opaque, lives a minute, is for one app and is used once. It carries the user that the
EHR has signed in, and so needs no second sign-in inside the EHR's frame, where the sign-in
cookie of this server does not travel (docs/adr/0006-authorization-server.md).
"""

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError

from fhir_server.security.authorization.records import (
    Effects,
    Launch,
    apply,
    digest,
    insert,
    replace_value,
    value_of,
)
from fhir_server.storage.port import Record, Transaction


async def create_launch(tx: Transaction, launch: Launch, *, handle: str, expires: float) -> None:
    """Keep a launch under its handle, a fresh random secret, which is the `launch` parameter that
    the EHR hands to the app. `expires` is in seconds since 1970."""
    await apply(tx, insert(launch, digest(handle), expires))


def judge_launch(record: Record | None, client_id: str, signed_in: str | None) -> Launch:
    """The launch, if the client may use it now. `signed_in` is the user of this browser's own
    session, where there is one. InvalidRequestError when it is unknown, expired, used or another
    app's; AccessDeniedError when somebody else is signed in here."""
    launch = None if record is None else value_of(Launch, record)
    if launch is None or launch.is_used or launch.client_id != client_id:
        raise InvalidRequestError(
            "the launch has expired, was already used, or is for another app; launch again"
        )
    if signed_in is not None and signed_in != launch.user:
        raise AccessDeniedError("this browser is signed in as another user than the EHR")
    return launch


def use_launch(record: Record) -> Effects:
    """Mark the launch as used, if nobody has done so since it was loaded."""
    launch = value_of(Launch, record)
    used = Launch(**{**vars(launch), "is_used": True})
    return replace_value(record, used)

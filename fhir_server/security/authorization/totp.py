"""Time-based one-time passwords (RFC 6238, with RFC 4226's truncation) and recovery codes; pure.

SHA-1, six digits, steps of 30 seconds: what every authenticator app takes. A code is good in its
own step and in those beside it, and each step once.
"""

import base64
import hmac
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from secrets import token_bytes
from typing import ClassVar
from urllib.parse import quote

import segno

from fhir_server.security.authorization.records import digest
from fhir_server.storage.port import Record

_STEP_SECONDS = 30
_DIGITS = 6
_DRIFT = 1
RECOVERY_CODES = 10


@dataclass(frozen=True)
class SecondFactor:
    """One user's authenticator. It counts once `is_confirmed` by a first right code; `last_step`
    is the newest step that was used; `recovery` the digests of the codes that are left."""

    KIND: ClassVar[str] = "second-factor"
    secret: str
    is_confirmed: bool = False
    last_step: int = 0
    recovery: tuple[str, ...] = ()


def new_factor() -> SecondFactor:
    """A factor with a fresh secret of 160 bits, to be confirmed."""
    return SecondFactor(base64.b32encode(token_bytes(20)).decode())


def factor_from(record: Record | None) -> SecondFactor | None:
    """The factor that a record holds."""
    if record is None:
        return None
    return SecondFactor(**{**record.value, "recovery": tuple(record.value["recovery"])})


def factor_record(user: str, factor: SecondFactor) -> Record:
    """The record of a user's factor."""
    return Record(SecondFactor.KIND, user, {**asdict(factor), "recovery": list(factor.recovery)})


def code_of(secret: str, step: int) -> str:
    """The code of a step."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 15
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def step_of(now: float) -> int:
    """The step of a time."""
    return int(now) // _STEP_SECONDS


def spend(factor: SecondFactor, typed: str, now: float) -> SecondFactor | None:
    """The factor after the code, or recovery code, was used; None when it is wrong or was used
    before. A factor that is not confirmed takes no recovery codes."""
    code = "".join(typed.split()).replace("-", "").upper()
    for step in range(step_of(now) - _DRIFT, step_of(now) + _DRIFT + 1):
        is_right = hmac.compare_digest(code_of(factor.secret, step).encode(), code.encode())
        if is_right and step > factor.last_step:
            return replace(factor, last_step=step)
    hashed = recovery_digest(code)
    if factor.is_confirmed and hashed in factor.recovery:
        left = tuple(each for each in factor.recovery if each != hashed)
        return replace(factor, recovery=left)
    return None


def new_recovery_codes() -> list[str]:
    """Ten codes of 80 bits, in groups of four, to be written down."""
    made = (base64.b32encode(token_bytes(10)).decode() for _ in range(RECOVERY_CODES))
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in made]


def with_recovery(factor: SecondFactor, codes: Iterable[str]) -> SecondFactor:
    """The factor with these recovery codes instead of those before."""
    return replace(factor, recovery=tuple(recovery_digest(code) for code in codes))


def recovery_digest(code: str) -> str:
    """What is kept of a recovery code: 80 random bits need no slow hash."""
    return digest(code.replace("-", ""))


def enrolment_uri(secret: str, user: str, issuer: str) -> str:
    """The address that authenticator apps read from the picture."""
    label = f"{quote(issuer)}:{quote(user)}"
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer)}"


def enrolment_picture(uri: str) -> str:
    """The address as a QR code: SVG to stand in the page, dark on white in every theme."""
    code = segno.make(uri, error="m", micro=False)
    return code.svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="qr", title=None)

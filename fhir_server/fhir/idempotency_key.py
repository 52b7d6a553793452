"""The key of a write that may be sent again (IETF draft-ietf-httpapi-idempotency-key-header)."""

import re

from fhir_server.fhir.outcome import bad_parameter

HEADER = "Idempotency-Key"
LONGEST = 255
REPLAYED = {"Idempotency-Replayed": "true"}
"""The header of an answer that is given again."""

_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_PRINTABLE = re.compile(r"[ -~]+")


def parsed(text: str) -> str:
    """The key in the header's text, the draft's quoted string or bare; FhirError 400 when it is
    malformed."""
    key = text.strip()
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        if quoted is None:
            raise bad_parameter("Idempotency-Key: the quoted string does not end, or goes on")
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    elif "," in key:
        raise bad_parameter("Idempotency-Key: one key; one with a comma is sent in quotes")
    if not key or len(key) > LONGEST or _PRINTABLE.fullmatch(key) is None:
        raise bad_parameter(
            f"Idempotency-Key: a key has 1 to {LONGEST} characters of printable ASCII"
        )
    return key


def written(key: str) -> str:
    """The key as the header's text: the inverse of `parsed`."""
    escaped = re.sub(r'(["\\])', r"\\\1", key)
    return f'"{escaped}"'

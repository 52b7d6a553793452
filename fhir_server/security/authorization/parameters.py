"""The parameters of an OAuth request, each at most once (RFC 6749 section 3.1)."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from starlette.requests import Request

MOST_BYTES = 64 * 1024
_MOST_FIELDS = 400  # a consent page has one for each scope
FORM = "application/x-www-form-urlencoded"

Parameters = Mapping[str, str]


def parse_parameters(text: str) -> Parameters:
    """Names and values of a query string or form; an empty value counts as absent.
    InvalidRequestError when one is repeated or the text can't be read."""
    try:
        pairs = parse_qsl(text, max_num_fields=_MOST_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError) as problem:
        raise InvalidRequestError("the parameters can't be read") from problem
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise InvalidRequestError("a parameter is given more than once")
        parameters[name] = value
    return parameters


async def read_form(request: Request) -> Parameters:
    """The form in the request's body. InvalidRequestError when it is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise InvalidRequestError(f"the body must be {FORM}")
    body = await read_body(request)
    try:
        return parse_parameters(body.decode("ascii"))
    except UnicodeDecodeError as problem:
        raise InvalidRequestError("the parameters can't be read") from problem


async def read_body(request: Request) -> bytes:
    """The body, of MOST_BYTES at most; InvalidRequestError beyond."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise InvalidRequestError("the body is too large")
    return bytes(body)

"""Searches sent by POST (R4 Search, "search using POST"): parameters in a form and in the URL."""

from dataclasses import replace

from fhir_server.fhir.outcome import error
from fhir_server.rest.request import Asked, Headers, media_type
from fhir_server.rest.routes import GENERAL_PARAMETERS, parse_query

SEARCHES = frozenset({"search-type", "search-system"})
MOST_FORM_BYTES = 1024 * 1024
FORM = "application/x-www-form-urlencoded"


def require_form(headers: Headers) -> None:
    """415 unless the body, if there is one, is said to be a form as it is."""
    if headers.get("content-encoding", "identity") != "identity":
        raise error(415, "not-supported", "Content-Encoding: send the form as it is")
    content_type = headers.get("content-type")
    if content_type is None:
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            return
        raise error(415, "not-supported", f"Content-Type is missing; a search is sent as {FORM}")
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {each.removeprefix("charset=").strip('"') for each in parameters}
    if name != FORM or not charsets <= {"utf-8", "utf8"}:
        raise error(415, "not-supported", f"Content-Type: {content_type}; send {FORM} in UTF-8")


def with_form(asked: Asked, body: bytes, headers: Headers) -> Asked:
    """The search with the parameters of the form after those of the URL; FhirError 400 when the
    body is no form. A `_format` in the form counts as one in the URL does."""
    pairs = parse_query(body.decode("latin-1").strip())
    query = (*asked.request.query, *(each for each in pairs if each[0] not in GENERAL_PARAMETERS))
    format_ = next((value for name, value in pairs if name == "_format"), None)
    chosen = asked.media_type if format_ is None else media_type(format_, headers.get("accept"))
    is_pretty = asked.request.is_pretty or ("_pretty", "true") in pairs
    request = replace(asked.request, query=query, is_pretty=is_pretty)
    return replace(asked, request=request, media_type=chosen)

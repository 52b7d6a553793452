"""Whether an update says what is there already (R4 RESTful API, "update": a server need not make
a new version when nothing has changed)."""

from typing import Any

import msgspec
import orjson

from fhir_server.fhir.codec import Resource, parse_json
from fhir_server.storage.port import Stored

_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")


def is_same(current: Stored | None, body: bytes) -> bool:
    """Whether the resource in `body` is the current version, apart from what the server stamps:
    id, meta.versionId and meta.lastUpdated. The order of members does not count; 1.0 is not
    1.00. A version whose content the caller may not see is never the same."""
    if current is None or not current.body:
        return False
    if _content(orjson.loads(current.body)) != _content(orjson.loads(body)):
        return False
    return _exact(current.body) == _exact(body)


def _exact(body: bytes) -> bytes:
    """The content with numbers as they were written."""
    return _encoder.encode(_content(parse_json(body)))


def _content(resource: Any) -> Resource:
    content = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated")
    }
    return content | {"meta": meta} if meta else content

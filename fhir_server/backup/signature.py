"""Signatures of requests to S3-compatible stores: AWS Signature Version 4, with the signature in
the Authorization header and the payload's hash signed."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Access:
    """Who asks: the id of a key, the key, the region and the service that it is signed for."""

    key_id: str
    secret: str
    region: str
    scope: str = "s3"


@dataclass(frozen=True)
class Asked:
    """A request as it is sent: `path` not yet encoded, `query` unencoded names and values."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    content: bytes = b""

    @property
    def digest(self) -> str:
        """The payload's hash."""
        return hashlib.sha256(self.content).hexdigest()


def encoded_path(path: str) -> str:
    """The path as it is sent and signed."""
    return quote(path, safe=f"/{_UNRESERVED}")


def encoded_query(query: Mapping[str, str]) -> str:
    """The query as it is sent and signed: in the order of its names."""
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in query.items()
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed_headers(
    asked: Asked, access: Access, now: datetime, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers that make the request one of the key's owner; `extra` are signed too."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": asked.host,
        "x-amz-content-sha256": asked.digest,
        "x-amz-date": stamp,
        **{name.lower(): value for name, value in (extra or {}).items()},
    }
    names = ";".join(sorted(headers))
    scope = f"{stamp[:8]}/{access.region}/{access.scope}/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, _sha256(_canonical(asked, headers, names))])
    signature = hmac.digest(_key(access, stamp[:8]), text.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={access.key_id}/{scope},SignedHeaders={names},"
        f"Signature={signature}"
    )
    return {**headers, "authorization": authorization}


def _canonical(asked: Asked, headers: Mapping[str, str], names: str) -> str:
    lines = [f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers)]
    parts = [asked.method, encoded_path(asked.path), encoded_query(asked.query)]
    return "\n".join([*parts, "".join(lines), names, headers["x-amz-content-sha256"]])


def _key(access: Access, day: str) -> bytes:
    key = f"AWS4{access.secret}".encode()
    for part in (day, access.region, access.scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

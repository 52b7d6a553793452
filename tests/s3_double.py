"""A small S3-compatible store in the process of the test: one bucket, one access key. It judges
each signature by what arrived, and answers lists two keys at a time."""

from datetime import UTC, datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

import httpx

from fhir_server.backup.signature import Access, Asked, signed_headers

ACCESS = Access("AKIDEXAMPLE", "a key that only the test has", "us-east-1")
ENDPOINT = "https://s3.test"
BUCKET = "clinic"
NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
PAGE = 2


class S3Double:
    """`handle` is what an httpx.MockTransport calls; `failures` are answered first."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.asked = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        """The answer to one request."""
        self.asked += 1
        if self.failures:
            return httpx.Response(self.failures.pop(0))
        if not _is_signed(request):
            return _error(403, "SignatureDoesNotMatch")
        path = unquote(request.url.raw_path.decode().partition("?")[0])
        bucket, _, key = path.removeprefix("/").partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket")
        return getattr(self, f"_{request.method.lower()}")(key, request)

    def _put(self, key: str, request: httpx.Request) -> httpx.Response:
        self.objects[key] = request.content
        return httpx.Response(200)

    def _get(self, key: str, request: httpx.Request) -> httpx.Response:
        if not key:
            return self._list(request)
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        return httpx.Response(200, content=self.objects[key])

    def _delete(self, key: str, _: httpx.Request) -> httpx.Response:
        self.objects.pop(key, None)
        return httpx.Response(204)

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        assert query["list-type"] == "2"
        after = query.get("continuation-token", "")
        found = [key for key in sorted(self.objects) if key.startswith(query["prefix"])]
        left = [key for key in found if key > after]
        page = left[:PAGE]
        keys = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        more = ""
        if len(left) > PAGE:
            more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        is_cut = str(bool(more)).lower()
        return httpx.Response(
            200,
            text='<?xml version="1.0"?><ListBucketResult '
            'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{is_cut}</IsTruncated>{more}{keys}</ListBucketResult>",
        )


def _is_signed(request: httpx.Request) -> bool:
    """Whether the signature is that of what arrived."""
    raw, _, _ = request.url.raw_path.decode().partition("?")
    asked = Asked(
        request.method,
        request.headers["host"],
        unquote(raw),
        dict(request.url.params),
        request.content,
    )
    sent = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    wanted = signed_headers(asked, ACCESS, sent)
    return all(
        request.headers.get(name) == wanted[name]
        for name in ("authorization", "x-amz-content-sha256")
    )


def _error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, text=f"<Error><Code>{code}</Code></Error>")

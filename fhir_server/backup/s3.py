"""Backups in a bucket of an S3-compatible store. Four requests are all that is asked of it: put an
object (whole, at most one part long), get one, list by prefix (ListObjectsV2), delete one. The
bucket stands in the path, which all of them understand."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import httpx
from lxml import etree

from fhir_server.backup.problems import TargetFailed
from fhir_server.backup.signature import Access, Asked, encoded_path, encoded_query, signed_headers

ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.2
_LATER = frozenset({500, 502, 503, 504})


@dataclass(frozen=True)
class Bucket:
    """Where it is: the store's origin, the bucket, and what names begin with there."""

    endpoint: str
    name: str
    prefix: str


class S3Target:
    """Implements Target over the client, which is closed with it."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        bucket: Bucket,
        access: Access,
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self._bucket = bucket
        self._access = access
        self._clock = clock
        self._host = httpx.URL(bucket.endpoint).netloc.decode()

    async def put(self, name: str, content: bytes) -> None:
        """An object is there whole or not at all."""
        await self._send("PUT", self._bucket.prefix + name, content=content)

    async def get(self, name: str) -> bytes:
        """The object's content."""
        answer = await self._send("GET", self._bucket.prefix + name)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise KeyError(name)
        return answer.content

    async def names(self, start: str = "") -> list[str]:
        """Page after page of the list."""
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            query = {"list-type": "2", "prefix": self._bucket.prefix + start, **more}
            answer = await self._send("GET", "", query)
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise TargetFailed(f"there is no bucket {self._bucket.name}")
            keys, token = _listed(answer.content)
            found += [key.removeprefix(self._bucket.prefix) for key in keys]
            if token is None:
                return sorted(found)
            more = {"continuation-token": token}

    async def delete(self, name: str) -> None:
        """Answered alike whether it was there or not."""
        await self._send("DELETE", self._bucket.prefix + name)

    async def close(self) -> None:
        """Close the client."""
        await self._http.aclose()

    async def _send(
        self, method: str, key: str, query: Mapping[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        """The answer, which is a success or 404; what may be over in a moment is asked again."""
        path = f"/{self._bucket.name}/{key}" if key else f"/{self._bucket.name}"
        asked = Asked(method, self._host, path, query or {}, content)
        for left in reversed(range(ATTEMPTS)):
            problem: str
            try:
                answer = await self._once(asked)
            except httpx.HTTPError as failure:
                problem = type(failure).__name__
            else:
                if answer.is_success or _is_absent(answer, method):
                    return answer
                problem = f"{answer.status_code} {_code(answer.content)}".strip()
                if answer.status_code not in _LATER:
                    break
            if left:
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (ATTEMPTS - 1 - left))
        raise TargetFailed(f"{self._bucket.endpoint}{path}: {method} was answered {problem}")

    async def _once(self, asked: Asked) -> httpx.Response:
        query = encoded_query(asked.query)
        url = f"{self._bucket.endpoint}{encoded_path(asked.path)}{f'?{query}' if query else ''}"
        return await self._http.request(
            asked.method,
            url,
            headers=signed_headers(asked, self._access, self._clock()),
            content=asked.content,
        )


def _is_absent(answer: httpx.Response, method: str) -> bool:
    return answer.status_code == HTTPStatus.NOT_FOUND and method != "PUT"


def _tree(content: bytes) -> etree._Element | None:
    """The XML of an answer, without entities; None where it is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(content, parser)
    except etree.XMLSyntaxError:
        return None


def _texts(tree: etree._Element | None, name: str) -> list[str]:
    return (
        []
        if tree is None
        else [str(text) for text in tree.xpath(f"//*[local-name()='{name}']/text()")]
    )


def _listed(content: bytes) -> tuple[list[str], str | None]:
    """The keys of one page, and the token of the next."""
    tree = _tree(content)
    if tree is None:
        raise TargetFailed("the list of the bucket can't be read")
    is_cut = _texts(tree, "IsTruncated") == ["true"]
    tokens = _texts(tree, "NextContinuationToken")
    return _texts(tree, "Key"), tokens[0] if is_cut and tokens else None


def _code(content: bytes) -> str:
    """The store's own word for what is wrong."""
    return "".join(_texts(_tree(content), "Code")[:1]) if content else ""

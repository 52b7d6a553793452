"""One random request after the other, from a seed."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import quote

from bench.fuzz.words import (
    HEADERS,
    IDS,
    LEAVES,
    METHODS,
    METHODS_MORE,
    MODIFIERS,
    OPERATIONS,
    PARAMETERS,
    PREFIXES,
    RAW,
    SHAPES,
    TYPES,
    VALUES,
    VERSIONS,
)

_HOLE = re.compile(r"{([tivo])}")
_FOR_HOLE = {"t": TYPES, "i": IDS, "v": VERSIONS, "o": OPERATIONS}
_BODIES = frozenset({"POST", "PUT", "PATCH"})
_DEEPEST = 3
Resource = dict[str, Any]


class Requests:
    """Makes requests as bytes; `examples` are resources whose mutations are sent, `parameters`
    the names that each type can be searched by, `found` references that exist (`Type/id`),
    `token` the caller's."""

    def __init__(
        self,
        random: Random,
        examples: Sequence[Resource],
        token: str,
        parameters: Mapping[str, Sequence[str]],
    ) -> None:
        self._random = random
        self._parameters_of = parameters
        self._examples = examples
        self._token = token
        self.found: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield self._request()

    def _request(self) -> bytes:
        random = self._random
        method = random.choice(METHODS if random.random() > 0.01 else METHODS_MORE)
        headers = {name: random.choice(HEADERS[name]) for name in self._some(HEADERS, 0.06)}
        if method in ("POST", "PUT") and random.random() < 0.5:
            url, body = self._write(method)
        else:
            url = self._url()
            body = self._body() if method in _BODIES or random.random() < 0.01 else b""
        if body and random.random() < 0.9:
            headers["Content-Type"] = _kind(body)
        lines = [f"{method} /fhir/{url} HTTP/1.1", "Host: localhost"]
        if random.random() > 0.01:
            lines.append(f"Authorization: Bearer {self._token}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in _BODIES:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _write(self, method: str) -> tuple[str, bytes]:
        """A resource, and the URL where it belongs; a Bundle belongs at the base."""
        random = self._random
        if method == "POST" and random.random() < 0.2:
            return "", self._bundle()
        resource = self._mutated(random.choice(self._examples))
        type_, id_ = resource.get("resourceType"), resource.get("id")
        if method == "POST":
            resource.pop("id", None)
            return quote(str(type_), errors="replace"), _encoded(resource)
        return quote(f"{type_}/{id_}", errors="replace"), _encoded(resource)

    def _some(self, names: Any, share: float) -> list[str]:
        return [name for name in names if self._random.random() < share]

    def _url(self) -> str:
        if self._random.random() < 0.3:
            type_ = self._random.choice(TYPES)
            return f"{quote(type_)}?{self._query(self._parameters_of.get(type_, PARAMETERS))}"
        path = self._path()
        query = self._query(PARAMETERS) if self._random.random() < 0.4 else ""
        return f"{path}?{query}" if query else path

    def _path(self) -> str:
        random = self._random
        if self.found and random.random() < 0.3:
            return random.choice(self.found) + random.choice(("", "", "/_history", "/$meta", "/*"))
        shape = random.choice(SHAPES)
        return _HOLE.sub(lambda hole: quote(random.choice(_FOR_HOLE[hole[1]]), safe="$*"), shape)

    def _query(self, names: Sequence[str]) -> str:
        random = self._random
        pairs = []
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 6))):
            name = random.choice(names) + random.choice(MODIFIERS)
            value = random.choice(PREFIXES) + random.choice(VALUES)
            if random.random() < 0.2:
                value += "," + random.choice(VALUES)
            pairs.append(f"{quote(name, safe=':')}={quote(value, safe='|,$')}")
        text = "&".join(pairs)
        if random.random() < 0.03:
            text += random.choice(("%", "%zz", "&&", "=", "%ff", "&=x", "#x", "+"))
        return text

    def _body(self) -> bytes:
        random = self._random
        make: Callable[[], bytes] = random.choice(
            (self._example, self._example, self._example, self._bundle, self._parameters, self._raw)
        )
        return make()

    def _raw(self) -> bytes:
        return self._random.choice(RAW)

    def _example(self) -> bytes:
        return _encoded(self._mutated(self._random.choice(self._examples)))

    def _mutated(self, resource: Resource) -> Resource:
        """A copy with some elements changed; often with none."""
        changed: Resource = copy.deepcopy(resource)
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            self._mutate(changed)
        return changed

    def _mutate(self, place: Any) -> None:
        random = self._random
        for _ in range(random.randint(1, 5)):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                return
            key = random.choice(keys)
            if isinstance(place[key], dict | list) and random.random() < 0.7:
                place = place[key]
                continue
            self._change(place, key)
            return

    def _change(self, place: Any, key: Any) -> None:
        random = self._random
        if isinstance(place, dict) and random.random() < 0.3:
            place[random.choice((f"_{key}", "nothing", f"{key}x"))] = self._leaf()
        elif isinstance(place, dict) and random.random() < 0.3:
            del place[key]
        else:
            place[key] = self._leaf()

    def _leaf(self) -> Any:
        """A value of its own: some are lists and objects, which later changes must not share."""
        return copy.deepcopy(self._random.choice(LEAVES))

    def _bundle(self) -> bytes:
        return _encoded(self._made_bundle(0))

    def _made_bundle(self, depth: int) -> Resource:
        random = self._random
        entries = [self._entry(depth) for _ in range(random.choice((0, 1, 2, 3, 5)))]
        kind = random.choice(("transaction", "transaction", "batch", "batch", "collection", "x"))
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        return self._mutated(bundle) if random.random() < 0.3 else bundle

    def _entry(self, depth: int) -> Resource:
        random = self._random
        method = random.choice(METHODS)
        entry: Resource = {"request": {"method": method, "url": self._url()}}
        if method in _BODIES and depth < _DEEPEST:
            is_nested = random.random() < 0.1
            resource = random.choice(self._examples)
            inner = self._made_bundle(depth + 1) if is_nested else self._mutated(resource)
            entry["resource"] = inner
        for name in ("ifMatch", "ifNoneMatch", "ifNoneExist", "ifModifiedSince"):
            if random.random() < 0.08:
                entry["request"][name] = random.choice(VALUES)
        if random.random() < 0.4:
            entry["fullUrl"] = random.choice(("urn:uuid:0", "urn:uuid:1", "http://a/b/Patient/1"))
        return entry

    def _parameters(self) -> bytes:
        random = self._random
        parameters = [
            {"name": random.choice(PARAMETERS), random.choice(_VALUE_KEYS): self._leaf()}
            for _ in range(random.randint(0, 4))
        ]
        patch = {
            "name": "operation",
            "part": [
                {
                    "name": "type",
                    "valueCode": random.choice(("add", "insert", "delete", "move", "x")),
                },
                {"name": "path", "valueString": random.choice(_FHIRPATHS)},
                {"name": random.choice(("value", "name", "index")), "valueString": "x"},
            ],
        }
        made = [*parameters, patch] if random.random() < 0.5 else parameters
        return _encoded({"resourceType": "Parameters", "parameter": made})


_VALUE_KEYS = ("valueString", "valueInteger", "valueBoolean", "valueUri", "resource", "part", "x")
_FHIRPATHS = (
    *("Patient.name", "Patient.gender", "Patient", "Observation.value", "Patient.name[0].given"),
    *("Patient.where(", "1 + ", "Patient.name.first().family", "%resource", "$this", ""),
)


def _encoded(resource: Resource) -> bytes:
    return json.dumps(resource, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _kind(body: bytes) -> str:
    if body.startswith(b"<"):
        return "application/fhir+xml"
    return "application/json-patch+json" if body.startswith(b'[{"op"') else "application/fhir+json"

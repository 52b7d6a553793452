"""What the terms in a store were made by: one short hash for each definition, over its meaning and
the encoding of terms. Where hashes differ, terms have to be made anew."""

import hashlib
from collections.abc import Mapping

import orjson

from fhir_server.search.registry import GUARD_TERMS, Registry, Row
from fhir_server.search.terms import ENCODING

_LENGTH = 12
GUARD_ENCODING = 1
"""Another one where the terms that only the guard asks for are made otherwise
(`security/guard_terms.py`)."""
Fingerprint = Mapping[str, str]
"""Url of a definition → hash."""


def fingerprint(registry: Registry) -> dict[str, str]:
    """The hashes of all definitions that are indexed."""
    rows = registry.rows
    found = {url: _hash([_meaning(row), *_components(row, rows)]) for url, row in rows.items()}
    return found | {GUARD_TERMS: _hash(GUARD_ENCODING)}


def digest(found: Fingerprint) -> str:
    """One hash for all."""
    return _hash(sorted(found.items()))


def _components(row: Row, rows: Mapping[str, Row]) -> list[object]:
    return [
        [part["expression"], _meaning(rows[part["url"]])]
        for part in row.get("component") or ()
        if part["url"] in rows
    ]


def _meaning(row: Row) -> list[object]:
    return [ENCODING, row["code"], row["base"], row.get("expression"), row["type"]]


def _hash(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()[:_LENGTH]

"""`medsage bench index`: how many terms a typical Observation has, and how many bytes of index the
embedded store keeps for it.

Options: `set` the archive, `bundles` how many of it (20).
"""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.patients import DEFAULT, bundles
from fhir_server.app import knowledge
from fhir_server.fhir.codec import encode, instant, parse
from fhir_server.search.expression import TermTuple
from fhir_server.storage.port import Draft, Key, Stored, Terms, Transaction
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.system import new_id, utc_now

_WORDS = ("._text", "._content", ":text")
_PAGE = 4096


def run(options: Mapping[str, str]) -> dict[str, Any]:
    """Terms and bytes of an Observation, words of its texts apart."""
    unknown = {*options} - {"set", "bundles"}
    if unknown:
        raise ValueError(f"not an option of this benchmark: {unknown}")
    found = bundles(Path(options.get("set", DEFAULT)), int(options.get("bundles", "20")))
    entries = [entry["resource"] for each in found for entry in json.loads(each.body)["entry"]]
    known = knowledge("http://localhost/fhir")
    drafts = [
        _draft(each, known.extract) for each in entries if each["resourceType"] == "Observation"
    ]
    counts = sorted(sum(not _is_word(term) for term in each.terms.terms) for each in drafts)
    plain = [replace(each, terms=_without_words(each.terms)) for each in drafts]
    return {
        "bench": "index",
        "observations": len(drafts),
        "terms": {"median": median(counts), "most": counts[-1]},
        "bytes": _bytes(plain),
        "bytes_with_words": _bytes(drafts),
    }


def _draft(resource: dict[str, Any], extract: Any) -> Draft:
    now, key = utc_now(), Key("Observation", new_id())
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": instant(now)}
    whole = parse(encode({**resource, "id": key.id, "meta": meta}))
    return Draft(Stored(key, 1, now, encode(whole), "POST"), extract(whole))


def _is_word(term: TermTuple) -> bool:
    return term[0].endswith(_WORDS)


def _without_words(terms: Terms) -> Terms:
    return replace(terms, terms=tuple(each for each in terms.terms if not _is_word(each)))


def _bytes(drafts: Sequence[Draft]) -> dict[str, float]:
    """Bytes for each Observation: of the terms' table and its index, of sort keys and tuples."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.sqlite"
        asyncio.run(_written(path, drafts))
        connection = sqlite3.connect(path)
        whole = _size(connection)
        beside = "SELECT sum(length(sort)) + sum(length(tuples)) FROM resource"
        (kept,) = connection.execute(beside).fetchone()
        connection.execute("DELETE FROM term")
        connection.commit()
        terms = whole - _size(connection)
        connection.close()
    return {
        "terms": round(terms / len(drafts), 1),
        "sort_and_tuples": round(kept / len(drafts), 1),
        "together": round((terms + kept) / len(drafts), 1),
    }


async def _written(path: Path, drafts: Sequence[Draft]) -> None:
    store = SqliteStore.open(path)

    async def unit(transaction: Transaction) -> None:
        for each in drafts:
            await transaction.put(each, 0)

    await store.transaction(unit)
    await store.close()


def _size(connection: sqlite3.Connection) -> int:
    connection.execute("VACUUM")
    return int(connection.execute("PRAGMA page_count").fetchone()[0]) * _PAGE

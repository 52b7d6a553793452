"""The proof on one store: ward after ward, each with one caller and many requests."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from bench.guard.callers import Caller, random_caller
from bench.guard.oracle import Oracle
from bench.guard.requests import Request, random_request, refused_write
from bench.guard.server import NOW, Meaning, Server
from bench.guard.ward import Resource, Ward, random_ward
from fhir_server.fhir.codec import encode, instant
from fhir_server.security import emergencies
from fhir_server.security.circumstances import Policy
from fhir_server.security.rule_state import change
from fhir_server.security.rulebook import prepare
from fhir_server.storage.port import Draft, Key, ResourceStore, Stored, Transaction

REQUESTS = 90
"""Requests to one ward."""
WRITES = 6
"""Attempts to change what is hidden, of those."""
SAMPLED = 0.05
"""Share of the requests that are also asked of the full store without the guard."""
MOST_SHOWN = 20


@dataclass
class Proof:
    """What was compared so far on one store. `told` are the requests that found something, `kept`
    the wards in which something was hidden; of `sampled` requests `guarded` would have been
    answered otherwise without the guard."""

    store: str
    triples: int = 0
    wards: int = 0
    kept: int = 0
    told: int = 0
    sampled: int = 0
    guarded: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For people to read."""
        rate = round(self.triples / self.seconds, 1) if self.seconds else 0.0
        return {
            "store": self.store,
            "triples": self.triples,
            "wards": self.wards,
            "wards with something hidden": self.kept,
            "answers with content": self.told,
            "sampled without the guard": self.sampled,
            "of these answered otherwise": self.guarded,
            "by route": dict(sorted(self.by_route.items())),
            "differences": len(self.differences),
            "shown": self.differences[:MOST_SHOWN],
            "seconds": round(self.seconds, 1),
            "triples per second": rate,
        }


class Proving:
    """A store that has everything and one that lacks what is hidden."""

    def __init__(
        self, name: str, full: ResourceStore, lacking: ResourceStore, known: Meaning
    ) -> None:
        self.proof = Proof(name)
        self._full, self._lacking, self._known = full, lacking, known
        self._guarded = {
            (has_tenants, by_default): Server(full, known, Policy(has_tenants, by_default))
            for has_tenants in (False, True)
            for by_default in (False, True)
        }
        self._unguarded = Server(lacking, known, Policy())
        self._leaking = Server(full, known, Policy())

    async def open(self) -> None:
        """As at the start of a server."""
        await prepare(self._full, is_indexed=True)

    async def ward(self, seed: int, prefix: str = "w", *, is_first_enough: bool = False) -> None:
        """One ward, its caller and requests, all from the seed; a ward that is asked again needs
        another prefix of its ids. `is_first_enough`: it ends with the first difference."""
        began = time.monotonic()
        chance = Random(seed)
        ward = random_ward(chance, f"{prefix}{seed}")
        caller = random_caller(chance, ward)
        oracle = Oracle(ward, caller)
        visible = oracle.visible()
        await _replace(self._full, self._known, ward.resources.values(), caller)
        await _replace(self._lacking, self._known, visible, None)
        server = self._guarded[ward.has_tenants, ward.consents_by_default]
        server.caller = caller.principal
        for number in range(REQUESTS):
            is_write = number < WRITES
            ask = self._write if is_write else self._read
            await ask(chance, (ward, oracle, server), seed)
            if is_first_enough and self.proof.differences:
                break
        self.proof.wards += 1
        self.proof.kept += len(visible) < len(ward.resources)
        await _clear(self._full, ward.resources.values(), caller)
        await _clear(self._lacking, visible, None)
        self.proof.seconds += time.monotonic() - began

    async def _read(self, chance: Random, at: tuple[Ward, Oracle, Server], seed: int) -> None:
        ward, oracle, server = at
        request = random_request(chance, ward)
        found = await server.answer(request)
        is_bundle = request.route in ("batch", "transaction")
        if not all(map(oracle.may_ask, request.type.split(","))):
            if not is_bundle:  # there each entry is refused by itself
                self._count(request)
                if found[0] != 403:
                    self._differs(seed, request, f"{found[0]} instead of 403")
            return
        self._count(request)
        expected = await self._unguarded.answer(request)
        is_searchset = expected[2].get("resourceType") == "Bundle"
        self.proof.told += expected[0] == 200 and (not is_searchset or sum(expected[3]) > 0)
        if chance.random() < SAMPLED:
            self.proof.sampled += 1
            self.proof.guarded += await self._leaking.answer(request) != expected
        if found != expected:
            self._differs(seed, request, f"{found} instead of {expected}")

    async def _write(self, chance: Random, at: tuple[Ward, Oracle, Server], seed: int) -> None:
        ward, oracle, server = at
        hidden = [
            name
            for name, each in ward.resources.items()
            if not oracle.sees(each) and oracle.may_ask(each["resourceType"])
        ]
        if not hidden:
            await self._read(chance, at, seed)
            return
        name = chance.choice(sorted(hidden))
        unknown = f"{name.partition('/')[0]}/{ward.name}unknown"
        fork = chance.getrandbits(32)
        request = refused_write(Random(fork), name)
        found = await server.answer(request)
        other = await server.answer(refused_write(Random(fork), unknown))
        self._count(request)
        if _like(found, name) != _like(other, unknown) or await self._is_changed(name):
            self._differs(seed, request, f"{found} but of an unknown one {other}")

    async def _is_changed(self, name: str) -> bool:
        type_, _, id_ = name.partition("/")
        stored = await self._full.get(Key(type_, id_))
        return stored is None or stored.version != 1

    def _count(self, request: Request) -> None:
        self.proof.triples += 1
        self.proof.by_route[request.route] += 1

    def _differs(self, seed: int, request: Request, how: str) -> None:
        body = f" {request.body.decode()}" if request.body else ""
        asked = f"{request.method} {request.url}{body}"
        self.proof.differences.append(f"seed {seed}: {asked}: {how}"[:2000])


def _like(answer: Any, name: str) -> str:
    """The answer as if the resource were called something else."""
    return repr(answer).replace(name.partition("/")[2], "ID")


async def _replace(
    store: ResourceStore, known: Meaning, resources: Any, caller: Caller | None
) -> None:
    drafts = [_draft(each, known) for each in resources]

    async def unit(transaction: Transaction) -> None:
        for draft in drafts:
            await transaction.put(draft, 0)
        if caller is not None:
            for patient in caller.emergencies:
                await emergencies.begin(transaction, _emergency(caller, patient))
            keys = [draft.stored.key for draft in drafts]
            consents = [key.id for key in keys if key.type == "Consent"]
            await change(transaction, {key.type for key in keys}, consents or [""])

    await store.transaction(unit)


async def _clear(store: ResourceStore, resources: Any, caller: Caller | None) -> None:
    """Delete what is there now; in the proof of a leak some of it may be gone or changed."""

    async def unit(transaction: Transaction) -> None:
        for each in resources:
            key = Key(each["resourceType"], each["id"])
            current = await transaction.get(key)
            if current is None or current.is_deleted:
                continue
            updated = max(NOW, current.updated) + timedelta(milliseconds=1)
            gone = Stored(key, current.version + 1, updated, b"", "DELETE")
            await transaction.put(Draft(gone), current.version)
        for patient in caller.emergencies if caller else ():
            await emergencies.end(transaction, f"emergency-{patient}")
        consents = [each["id"] for each in resources if each["resourceType"] == "Consent"]
        if caller is not None and consents:
            await change(transaction, consents=consents)

    await store.transaction(unit)


def _draft(resource: Resource, known: Meaning) -> Draft:
    stamped = {"versionId": "1", "lastUpdated": instant(NOW)}
    full = {**resource, "meta": {**resource.get("meta", {}), **stamped}}
    key = Key(resource["resourceType"], resource["id"])
    return Draft(Stored(key, 1, NOW, encode(full)), known.extract(full))


def _emergency(caller: Caller, patient: str) -> emergencies.Emergency:
    who = caller.principal
    now = NOW.timestamp()
    return emergencies.Emergency(
        id=f"emergency-{patient}",
        user=who.subject,
        patient=patient,
        tenant=who.tenant,
        reason="ETREAT",
        text="a proof",
        began=now,
        until=now + 60,
    )


def summed(proofs: Mapping[str, Proof]) -> dict[str, Any]:
    """All stores' proofs as one JSON object."""
    return {
        "triples": sum(each.triples for each in proofs.values()),
        "differences": sum(len(each.differences) for each in proofs.values()),
        "stores": [each.as_json() for each in proofs.values()],
    }

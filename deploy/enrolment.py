"""The model versions on this machine, entered in the registry at the start of the server.

The first version of a condition is active: installing the release is the decision for it. Every
other one begins as a shadow, and two people take it further (ADR 0021).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from fhir_server.audit.journal import AuditTrail
from fhir_server.fhir.codec import encode, parse
from fhir_server.fhir.model_versions import (
    AI_DEVICE,
    DEVICE_TYPES,
    Standing,
    State,
    key_of,
    retired,
    standing_of,
    with_standing,
)
from fhir_server.interactions.write import Submission, draft, put
from fhir_server.publication import SERVER
from fhir_server.search.conditional import parse_condition
from fhir_server.search.plan import Scope
from fhir_server.security.tenants import DEFAULT, in_tenant, tenant_of
from fhir_server.storage.port import (
    Key,
    ResourceStore,
    Stored,
    Terms,
    Transaction,
    VersionConflict,
)
from models.ai_systems import MODEL_CARDS, ai_device, model_card
from models.lifecycle.installed import Installed

Resource = dict[str, Any]
_log = structlog.get_logger("medsage.models")
_MOST = 1000


@dataclass(frozen=True)
class Enrolment:
    """What enrolling takes. `owner` is the tenant whose registry it is: each has one.
    `follows_release`: a shipped version takes the place of one that is no longer on this machine,
    without two people; for the demonstration alone."""

    store: ResourceStore
    scope: Callable[[], Scope]
    extract: Callable[[Resource], Terms]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    base_url: str
    owner: str = DEFAULT
    follows_release: bool = False
    tenant: None = None
    writer: None = None


async def enrol(enrolment: Enrolment, here: Mapping[str, Installed]) -> int:
    """Enter the versions that the registry does not know; how many Devices were written. One
    unit; of two processes that start at once, one does it."""

    async def unit(transaction: Transaction) -> int:
        await transaction.reserve("enrolment of model versions")
        return await _enrol(enrolment, transaction, here)

    try:
        return await enrolment.store.transaction(unit)
    except VersionConflict:
        return await enrolment.store.transaction(unit)


async def _enrol(enrolment: Enrolment, unit: Transaction, here: Mapping[str, Installed]) -> int:
    known = await _known(enrolment, unit)
    written = 0
    # What is shipped comes first, so it is what a new installation begins with.
    for version in sorted(here.values(), key=lambda each: not each.is_shipped):
        before = known.get(version.key)
        if before is not None and before.standing is not None:
            continue
        conditions = {each.standing.condition for each in known.values() if each.standing}
        is_first = version.entry.condition not in conditions
        state = State.ACTIVE if is_first else State.SHADOW
        known[version.key] = await _enter(enrolment, unit, version, (before, state))
        written += 1
        _log.info("version enrolled", version=version.key, state=state.value)
    if enrolment.follows_release:
        written += await _follow(enrolment, unit, known, here)
    return written


async def _enter(
    enrolment: Enrolment,
    unit: Transaction,
    version: Installed,
    entered: "tuple[_Known | None, State]",
) -> "_Known":
    before, state = entered
    device = (
        before.device
        if before
        else ai_device(version.system, await _card(enrolment, unit, version))
    )
    standing = Standing(
        version.model, version.entry.condition, state, was_active=state is State.ACTIVE
    )
    made = await _write(
        enrolment, unit, with_standing(device, standing), before.stored if before else None
    )
    return _Known(made, parse(made.body))


async def _follow(
    enrolment: Enrolment,
    unit: Transaction,
    known: Mapping[str, "_Known"],
    here: Mapping[str, Installed],
) -> int:
    """Puts shipped versions in the place of active ones that are not here any more."""
    written = 0
    shipped = {v.entry.condition: v for v in here.values() if v.is_shipped}
    for key, gone in known.items():
        before = gone.standing
        if before is None or before.state is not State.ACTIVE or key in here:
            continue
        version = shipped.get(before.condition)
        if version is None:
            continue
        next_ = known[version.key]
        active = Standing(version.model, before.condition, State.ACTIVE, was_active=True)
        await _write(enrolment, unit, with_standing(gone.device, retired(before)), gone.stored)
        await _write(enrolment, unit, with_standing(next_.device, active), next_.stored)
        _log.info("version follows the release", version=version.key, instead_of=key)
        written += 2
    return written


@dataclass(frozen=True)
class _Known:
    """A Device of an AI system as stored."""

    stored: Stored
    device: Resource

    @property
    def standing(self) -> Standing | None:
        return standing_of(self.device)


async def _known(enrolment: Enrolment, unit: Transaction) -> dict[str, _Known]:
    """The Devices of AI systems, by the key of their version."""
    asked = [("type", f"{DEVICE_TYPES}|{AI_DEVICE}")]
    page = await unit.find(parse_condition(enrolment.scope(), "Device", asked, limit=_MOST))
    found = (_Known(stored, parse(stored.body)) for stored in page.matches)
    own = (each for each in found if tenant_of(each.device) == enrolment.owner)
    return {key_of(each.device): each for each in own}


async def _card(enrolment: Enrolment, unit: Transaction, version: Installed) -> str:
    """The reference of the version's model card, which is made when there is none."""
    asked = [("identifier", f"{MODEL_CARDS}|{version.key}")]
    query = parse_condition(enrolment.scope(), "DocumentReference", asked, limit=_MOST)
    for stored in (await unit.find(query)).matches:
        if tenant_of(parse(stored.body)) == enrolment.owner:
            return str(stored.key)
    return str((await _write(enrolment, unit, model_card(version.system), None)).key)


async def _write(
    enrolment: Enrolment, unit: Transaction, resource: Resource, current: Stored | None
) -> Stored:
    key = current.key if current else Key(resource["resourceType"], enrolment.new_id())
    method = "PUT" if current else "POST"
    plain = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    if current:
        plain = {**plain, "id": key.id, "meta": parse(current.body).get("meta", {})}
    plain = in_tenant(plain, enrolment.owner)
    made = draft(enrolment, Submission(key, plain, encode(plain), method), current)
    await put(unit, made)
    trail = AuditTrail(SERVER, enrolment.clock, enrolment.new_id, enrolment.base_url)
    entry = trail.entry(
        interaction="update" if current else "create",
        outcome="success",
        status=200 if current else 201,
        key=key,
        version=made.stored.version,
    )
    await unit.journal(entry)
    return made.stored

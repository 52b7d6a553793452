"""Emergency access as both its ways in give and end it: the page and the call of an app."""

from dataclasses import replace

from starlette.requests import Request

from fhir_server.fhir.codec import parse
from fhir_server.search import terms
from fhir_server.search.expression import HasRange, Query
from fhir_server.security import emergencies
from fhir_server.security.authorization.parameters import Parameters
from fhir_server.security.authorization.server import AuthorizationServer, commit, trail
from fhir_server.security.emergencies import Emergency, Unfounded, check_reason
from fhir_server.security.principal import Principal
from fhir_server.security.tenants import tenant_of
from fhir_server.storage.port import Key, Stored, Transaction

_WINDOW_SECONDS = 3600
_MOST_ASKED = 20
"""Patients that one user may ask for in an hour: the answer tells that there is such a patient."""
NO_SUCH_PATIENT = "there is no such patient, or several: give the id or one whole identifier"


class TooMany(Unfounded):
    """The user has asked too often; the text says so."""


async def begin(
    server: AuthorizationServer, request: Request, who: Principal, asked: Parameters
) -> Emergency:
    """Give the user access to the patient (`patient`: an id, or an identifier's whole value) for
    `minutes`, because of `reason` and `text`. Unfounded says what is missing; that is written
    down too."""
    try:
        given = await _emergency(server, who, asked)
    except Unfounded as refusal:
        entry = trail(server, request, who).entry(
            interaction="emergency-begin", outcome="refused", status=400, detail=str(refusal)
        )
        await server.store.note(entry)
        raise
    patient = frozenset({given.patient})
    entry = replace(trail(server, request, who), emergencies=patient).entry(
        interaction="emergency-begin",
        outcome="success",
        status=201,
        patient=given.patient,
        detail=f"{given.reason}, for {_minutes(given)} minutes: {given.text}",
    )

    async def unit(tx: Transaction) -> None:
        await emergencies.begin(tx, given)
        await tx.journal(entry)

    await commit(server, unit)
    return given


async def end(server: AuthorizationServer, request: Request, who: Principal, id: str) -> bool:
    """End the user's own emergency access; False when they have none with the id."""

    async def unit(tx: Transaction) -> bool:
        ended = await emergencies.end(tx, id, who.subject)
        if ended is None:
            return False
        about = replace(trail(server, request, who), emergencies=frozenset({ended.patient}))
        await tx.journal(
            about.entry(
                interaction="emergency-end",
                outcome="success",
                status=200,
                patient=ended.patient,
                detail="ended by the user",
            )
        )
        return True

    return await commit(server, unit)


async def under_way(server: AuthorizationServer, who: Principal) -> list[Emergency]:
    """The user's emergency access, what ends first first."""
    known = emergencies.by_user(await server.store.records(emergencies.KIND))
    own = [each for each in known.get(who.subject, ()) if each.until > server.now()]
    return sorted(own, key=lambda each: each.until)


async def _emergency(server: AuthorizationServer, who: Principal, asked: Parameters) -> Emergency:
    reason, text = asked.get("reason", ""), asked.get("text", "").strip()
    check_reason(reason, text, who.roles)
    longest = server.lifetimes.emergency // 60
    minutes = asked.get("minutes", str(longest))
    if not minutes.isascii() or not minutes.isdigit() or not 1 <= int(minutes[:6]) <= longest:
        raise Unfounded(f"minutes is a whole number from 1 to {longest}")
    count = await server.counters.hit(f"emergency {who.subject}", _WINDOW_SECONDS)
    if count.hits > _MOST_ASKED:
        raise TooMany(f"not more than {_MOST_ASKED} in an hour; call your security officer")
    patient = await _patient(server, who.tenant, asked.get("patient", "").strip())
    now = server.now()
    return Emergency(
        id=server.new_id(),
        user=who.subject,
        patient=patient,
        tenant=who.tenant,
        reason=reason,
        text=text,
        began=now,
        until=now + int(minutes) * 60,
    )


async def _patient(server: AuthorizationServer, tenant: str, named: str) -> str:
    """The id of the one patient of the tenant who is called so."""
    found: list[Stored] = []
    if 1 <= len(named) <= terms.SORT_LENGTH and terms.SEPARATOR not in named:
        by_id = await server.store.get(Key("Patient", named.removeprefix("Patient/")))
        start = terms.joined(named, "")
        value = HasRange(terms.key("Patient", "identifier"), start, terms.next_after(start))
        by_value = await server.store.find(Query("Patient", value, limit=2))
        found = [by_id] if by_id is not None else list(by_value.matches)
    living = [each for each in found if not each.is_deleted]
    own = [each for each in living if tenant_of(parse(each.body)) == tenant]
    if len(own) != 1:
        raise Unfounded(NO_SUCH_PATIENT)
    return own[0].key.id


def _minutes(given: Emergency) -> int:
    return round((given.until - given.began) / 60)

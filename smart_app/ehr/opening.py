"""A launch from another record system → a session on our copy of its chart."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smart_app.ehr import gaps
from smart_app.ehr.chart import Listing, id_in, read_chart, read_patient
from smart_app.ehr.copies import Chart
from smart_app.ehr.evidence import Retrieval, launch_event
from smart_app.ehr.importing import Import, importer, patient_copy
from smart_app.ehr.people import Clinician, clinician
from smart_app.fhir_client import FhirClient, FhirFailure
from smart_app.issuers import Issuer
from smart_app.launch.attempt import asked_scope
from smart_app.launch.exchange import TokenEndpoint, grant_from
from smart_app.launch.keys import BadIdentity, Unprovable
from smart_app.launch.scopes import CHART, allows
from smart_app.parts import Parts
from smart_app.problems import Problem
from smart_app.sessions import Attempt, Grant, Origin, Session

HERE = " ".join(f"patient/{type_}.{acts}" for type_, acts in CHART.items())
"""What the pages may do with the copy: it lies on our own server, whatever the record system
granted there."""


@dataclass(frozen=True)
class Launched:
    """A launch whose code was redeemed: `answer` is the token response."""

    issuer: Issuer
    attempt: Attempt
    endpoint: TokenEndpoint
    answer: Mapping[str, Any]
    now: datetime

    @property
    def scope(self) -> str:
        """What was granted; who says nothing has granted what was asked for (RFC 6749 5.1)."""
        configuration = self.endpoint.configuration
        asked = asked_scope(self.issuer, configuration, standalone=self.attempt.standalone)
        return str(self.answer.get("scope") or asked)


async def open_chart(parts: Parts, launched: Launched) -> Session:
    """The session; a Problem says what the record system did not give."""
    issuer, answer = launched.issuer, launched.answer
    patient = id_in(answer.get("patient"), "Patient")
    if patient is None:
        raise Problem("no-patient")
    if not allows(launched.scope, "Patient", "r"):
        raise Problem("missing-scopes", ("Patient.r",))
    grant = grant_from(
        {**answer, "scope": launched.scope},
        secrets.token_urlsafe(16),
        issuer.fhir_base,
        now=launched.now,
    )
    ehr = FhirClient(parts.http, issuer.fhir_base, _fixed(grant.access_token))
    claims = await _identity(launched)
    who = await clinician(ehr, issuer.fhir_base, claims, launched.scope)
    session = await _copied(parts, launched, ehr, (patient, who, grant))
    await parts.sessions.keep_grant(grant)
    return session


async def _identity(launched: Launched) -> Mapping[str, Any] | None:
    """The verified claims; None when the server gave no id_token or announces no keys for it. One
    that can be judged and is wrong ends the launch (BadIdentity)."""
    if "id_token" not in launched.answer:
        return None
    try:
        claims: Mapping[str, Any] = await launched.endpoint.identity(
            dict(launched.answer), launched.attempt, launched.now
        )
    except Unprovable:
        return None
    if not claims.get("sub"):
        raise BadIdentity("it names nobody")
    return claims


async def _copied(
    parts: Parts, launched: Launched, ehr: FhirClient, known: tuple[str, Clinician, Grant]
) -> Session:
    issuer, (patient, who, grant) = launched.issuer, known
    encounter = id_in(launched.answer.get("encounter"), "Encounter")
    found = await read_patient(ehr, patient)
    listings = await read_chart(ehr, launched.scope, patient, encounter)
    try:
        person, copying = await _keep_person(parts, launched, who)
        copy = await copying.person(patient_copy(issuer.fhir_base, found), found)
        chart = Chart(issuer.fhir_base, patient, copy)
        await copying.entries(chart, listings)
        await copying.own.create(launch_event(copying.retrieval, copy))
        visit = await _encounter_copy(copying, chart, encounter)
    except FhirFailure as failure:
        raise _not_kept(failure) from failure
    origin = Origin(
        fhir_base=issuer.fhir_base,
        name=issuer.name,
        patient=patient,
        encounter=encounter,
        user=who.reference,
        scope=launched.scope,
        copied=copying.retrieval.when,
        gaps=_gaps(copying, listings),
        left_out=copying.left_out.total(),
        notes=_notes(issuer, who, grant, listings),
    )
    return Session(
        sid=secrets.token_urlsafe(24),
        binding=launched.attempt.binding,
        grant=grant.id,
        fhir_base=parts.config.home.fhir_base,
        fhir_user=person,
        user_name=who.name or issuer.name,
        started=launched.now.isoformat(timespec="seconds"),
        scope=HERE,
        patient=copy,
        encounter=visit,
        need_patient_banner=bool(launched.answer.get("need_patient_banner", True)),
        origin=origin,
    )


async def _keep_person(
    parts: Parts, launched: Launched, who: Clinician
) -> tuple[str | None, Import]:
    """Our copy of the clinician (a reference), and the import in their name."""
    when = launched.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    issuer = launched.issuer
    named = {"display": who.name or f"Somebody at {issuer.name}"}
    retrieval = Retrieval(issuer.fhir_base, issuer.name, issuer.client_id, named, when)
    copying = importer(parts, retrieval)
    if who.copy is None:
        return None, copying
    reference = f"Practitioner/{await copying.person(who.copy, who.source)}"
    known = Retrieval(
        issuer.fhir_base, issuer.name, issuer.client_id, {"reference": reference, **named}, when
    )
    return reference, importer(parts, known)


async def _encounter_copy(copying: Import, chart: Chart, encounter: str | None) -> str | None:
    if encounter is None:
        return None
    query = {"patient": chart.copy, "identifier": f"{chart.issuer}|{encounter}"}
    found = await copying.own.search("Encounter", query)
    return str(found[0]["id"]) if found else None


def _gaps(copying: Import, listings: Sequence[Listing]) -> tuple[tuple[str, str], ...]:
    """What of the chart is missing, in whole or (`partly`) for some of its entries."""
    whole = [(each.type, each.gap) for each in listings if each.gap is not None]
    return (*whole, *((type_, gaps.PARTLY) for type_ in copying.left_out))


def _notes(
    issuer: Issuer, who: Clinician, grant: Grant, listings: Sequence[Listing]
) -> tuple[str, ...]:
    found = []
    if who.is_other:
        found.append(gaps.NOT_A_CLINICIAN)
    elif who.copy is None:
        found.append(gaps.NO_USER)
    if issuer.write_back and grant.refresh_token is None and not issuer.acts_alone:
        found.append(gaps.NO_RENEWAL)
    partly = [each for each in listings if each.gap is None and not each.is_whole]
    if any(each.type == "Observation" for each in partly):
        found.append(gaps.PARTLY_LISTED)
    return tuple(found)


def _not_kept(failure: FhirFailure) -> Exception:
    if failure.status in {400, 422}:
        return Problem("no-chart", tuple(text for text, _where in failure.problems)[:5])
    return failure


def _fixed(token: str) -> Any:
    async def give() -> str:
        return token

    return give

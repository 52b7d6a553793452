"""Who does what when in the tests of the audit trail."""

from datetime import UTC, datetime

from fhir_server.security.principal import Principal

AT = datetime(2026, 11, 24, 2, 0, 0, 123456, tzinfo=UTC)
BASE = "https://ward.example/fhir"
DOCTOR = Principal(
    subject="dr.amina",
    client_id="medsage-app",
    name="Dr Amina Diallo",
    roles=frozenset({"doctor"}),
    fhir_user="Practitioner/dr-amina",
    scopes="patient/*.rs",
    patient="kofi",
    encounter=None,
    session="s1",
)
WORKER = Principal(
    subject="medsage-worker",
    client_id="medsage-worker",
    name="MedSAGE worker",
    roles=frozenset({"service"}),
    fhir_user=None,
    scopes="system/*.cruds",
    patient=None,
    encounter=None,
    session=None,
)

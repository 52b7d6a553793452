"""The codes of AuditEvents: what happened, and in which role a person acted."""

from terminology.concepts import Concept, Resource, System, unlisted_system

AUDIT_EVENT = System(
    "audit-event",
    "MedSAGE audit events",
    "What happened, as the app and the analysis tell it (AuditEvent.subtype).",
    (
        Concept("signature", "Signature", "A clinician signed a report."),
        Concept(
            "print", "Print", "A report, or the prescription after it, was opened for printing."
        ),
        Concept(
            "ehr-launch", "Launch from an EHR", "A chart was opened from another record system."
        ),
        Concept("download", "Download", "A signed report was downloaded as PDF or JSON."),
        Concept("report-sent", "Report sent", "A signed report was sent to its record system."),
        Concept(
            "ai-feedback", "Feedback on AI", "A clinician said, or changed, what an AI result was."
        ),
        Concept("app-refusal", "Request refused by the app", "The app refused a request."),
        Concept("migrate", "Migrate", "The store was brought to the schema of a later version."),
        Concept("ai-result", "AI result", "An analysis was written as a preliminary report."),
        Concept("ai-refusal", "AI gave no result", "An analysis ended without a finding."),
        Concept("diagnose", "Diagnose", "A call of /api/diagnose was refused."),
    ),
)
AUDIT_SUBTYPE = System(
    "audit-subtype",
    "MedSAGE audit subtypes",
    "What happened, where neither FHIR nor DICOM nor IHE has a code for it, as the server tells "
    "it (AuditEvent.subtype).",
    (
        Concept("launch", "Launch", "An EHR handed over its context for a SMART launch."),
        Concept("authorize", "Authorize", "A client asked for authorization."),
        Concept(
            "emergency-begin",
            "Emergency access begun",
            "Somebody opened, for a time and a reason, what was kept from them of one record.",
        ),
        Concept("emergency-end", "Emergency access ended", "It ended, by hand or by itself."),
        Concept("user-create", "User created", "A person was given a way to sign in."),
        Concept("session-end", "Session ended", "A sign-in was ended by its owner or an admin."),
        Concept("consent", "Consent to an app", "A user allowed an app, or took that back."),
        Concept(
            "choose-context",
            "Choose context",
            "A user chose the patient or the encounter that an app is to work with.",
        ),
        Concept(
            "client-registration",
            "Client registration",
            "A client was registered, changed, approved, refused or removed.",
        ),
        Concept("signing-keys", "Signing keys", "The server's own keys were rotated or retired."),
        Concept("backup", "Backup", "A backup of everything was made."),
        Concept("restore", "Restore", "Everything was brought back from a backup."),
        Concept("migrate", "Migrate", "The store was brought to the schema of a later version."),
        Concept("ai-result", "AI result", "A result of an AI system was recorded."),
        Concept("sign", "Sign", "A report was signed."),
        Concept("print", "Print", "A report was printed."),
        Concept("hand-over", "Hand over", "A patient was given their whole record."),
        Concept("erase", "Erase", "All versions of a resource were erased at a patient's right."),
        Concept("hold", "Hold", "A legal hold was put on a patient's record."),
        Concept("unhold", "Release hold", "A legal hold on a patient's record ended."),
    ),
)
ROLE = System(
    "role",
    "MedSAGE roles",
    "In which role somebody acted (AuditEvent.agent.role); what a role may do at most is decided "
    "by the server.",
    (
        Concept("doctor", "Doctor", "Reads and writes clinical content; may sign."),
        Concept("nurse", "Nurse", "Reads clinical content and writes what nursing records."),
        Concept("admin", "Administrator", "Keeps people, places, devices and definitions."),
        Concept("auditor", "Auditor", "Reads the audit trail, and no clinical content."),
        Concept(
            "governance",
            "Clinical governance",
            "Decides with a second person which model versions are used; reads what shadows said.",
        ),
        Concept("service", "Backend service", "A program that acts by itself, within its scopes."),
    ),
)
SYSTEMS = (AUDIT_EVENT, AUDIT_SUBTYPE, ROLE)


def audit_block() -> Resource:
    """The CodeSystem of block numbers: known by their form."""
    return unlisted_system(
        "audit-block",
        "MedSAGE audit blocks",
        "The number of the signed block of the audit chain that an AuditEvent is sealed in "
        "(AuditEvent.meta.tag): a decimal number, counted up block by block.",
    )


def tenant() -> Resource:
    """The CodeSystem of tenants: each installation has its own."""
    return unlisted_system(
        "tenant",
        "MedSAGE tenants",
        "The tenant to whom a resource belongs, as the server alone labels it (meta.security): "
        "the name that the operator gave it.",
    )

"""Users of the demonstration. They are public knowledge, and therefore registered in the
development profile alone."""

from fhir_server.security.authorization.users import User

PASSWORD = "malaria-ward-7"  # noqa: S105 - printed at every start of the demonstration

USERS = (
    User("dr.amina", "Dr Amina Njoroge", frozenset({"doctor"}), "Practitioner/dr-amina"),
    User("dr.kofi", "Dr Kofi Mensah", frozenset({"doctor"}), "Practitioner/dr-kofi"),
    User("auditor", "Grace Wanjiru", frozenset({"auditor"}), "Practitioner/auditor"),
    User("admin", "Samuel Otieno", frozenset({"admin"}), "Practitioner/admin"),
    User("governance", "Dr Ruth Adeyemi", frozenset({"governance"}), "Practitioner/governance"),
)

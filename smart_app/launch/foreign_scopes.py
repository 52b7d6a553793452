"""What the app asks for at a record system that is not ours, in the words that it understands."""

from collections.abc import Mapping

from smart_app.discovery import SmartConfiguration
from smart_app.issuers import Issuer

READ: Mapping[str, str] = {
    "Patient": "patient",
    "Encounter": "patient",
    "Observation": "patient",
    "AllergyIntolerance": "patient",
    "Practitioner": "user",
}
"""Type that is copied → level of its scope."""
WRITABLE = ("Observation", "DiagnosticReport", "DocumentReference")
"""What can be sent back, in the order in which it is sent."""
_V1 = {"rs": ("read",), "c": ("write",), "crs": ("read", "write")}


def foreign_scope(issuer: Issuer, configuration: SmartConfiguration) -> str:
    """The scope parameter of a launch from another record system: what was registered for it,
    else what the app needs, as v2 or v1 scopes after what the server advertises."""
    if issuer.scopes is not None:
        return issuer.scopes
    wanted: dict[str, str] = dict.fromkeys(READ, "rs")
    for type_ in issuer.write_back:
        # Reading lets a retry find what an earlier try has stored.
        wanted[type_] = "crs"
    words = ["launch", "openid", "fhirUser", *_renewal(configuration)]
    for type_, acts in wanted.items():
        level = READ.get(type_, "patient")
        endings = (acts,) if configuration.speaks_v2 else _V1[acts]
        words += [f"{level}/{type_}.{ending}" for ending in endings]
    return " ".join(words)


def _renewal(configuration: SmartConfiguration) -> list[str]:
    """The scope for a refresh token, where the server says that it has one."""
    for kind in ("online", "offline"):
        scope = f"{kind}_access"
        if scope in configuration.scopes or f"permission-{kind}" in configuration.offers:
            return [scope]
    return []


def backend_scope(issuer: Issuer, configuration: SmartConfiguration) -> str:
    """The scopes with which the app sends in its own name at the record system."""
    endings = ("crs",) if configuration.speaks_v2 else _V1["crs"]
    types = [type_ for type_ in WRITABLE if type_ in issuer.write_back]
    return " ".join(f"system/{type_}.{ending}" for type_ in types for ending in endings)

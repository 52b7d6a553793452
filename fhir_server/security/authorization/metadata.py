"""The two discovery documents (SMART App Launch 2.2, "Conformance"; OpenID Connect Discovery 1.0).

They list what works, and a test calls everything that they list.
"""

from typing import Any

from fhir_server.security.authorization.clients import ASSERTION_ALGORITHMS, GRANT_TYPES
from fhir_server.security.authorization.openid_parameters import PROMPTS
from fhir_server.security.keys import IDENTITY_ALGORITHM
from fhir_server.security.scopes import CONTEXTS

CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
_SCOPES = (*sorted(CONTEXTS), "patient/*.cruds", "user/*.cruds", "system/*.cruds")


def smart_configuration(issuer: str) -> dict[str, Any]:
    """`[FHIR base]/.well-known/smart-configuration`."""
    return {
        **_endpoints(issuer),
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "management_endpoint": f"{issuer}/account",
        **_token_endpoint(),
        "capabilities": list(CAPABILITIES),
    }


def openid_configuration(issuer: str) -> dict[str, Any]:
    """`[issuer]/.well-known/openid-configuration`."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        **_endpoints(issuer),
        "userinfo_endpoint": f"{issuer}/userinfo",
        "end_session_endpoint": f"{issuer}/logout",
        **_token_endpoint(),
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [IDENTITY_ALGORITHM],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash", "name",
            "fhirUser",
        ],
        "prompt_values_supported": list(PROMPTS),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
    }  # fmt: skip


def _endpoints(issuer: str) -> dict[str, Any]:
    return {
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "introspection_endpoint": f"{issuer}/introspect",
        "registration_endpoint": f"{issuer}/register",
    }


def _token_endpoint() -> dict[str, Any]:
    confidential = ["private_key_jwt", "client_secret_basic"]
    methods = {
        "token": [*confidential, "none"],
        "revocation": [*confidential, "none"],
        "introspection": confidential,
    }
    proofs: dict[str, Any] = {}
    for endpoint, named in methods.items():
        proofs[f"{endpoint}_endpoint_auth_methods_supported"] = named
        algorithms = list(ASSERTION_ALGORITHMS)
        proofs[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = algorithms
    return {
        "response_types_supported": ["code"],
        "grant_types_supported": sorted(GRANT_TYPES),
        "scopes_supported": list(_SCOPES),
        "code_challenge_methods_supported": ["S256"],
        **proofs,
    }

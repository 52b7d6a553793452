"""What record systems say about themselves, in the shape of five kinds that are publicly known.

Written for these tests after public documentation (open.epic.com, docs.oracle.com/health,
docs.athenahealth.com, the SMART launcher and HAPI FHIR): the members and the words are theirs, the
hosts are examples, and what a real installation answers may differ.
"""

from typing import Any

Document = dict[str, Any]
AUTH = "https://auth.example"


def _endpoints(path: str) -> Document:
    return {
        "authorization_endpoint": f"{AUTH}{path}/authorize",
        "token_endpoint": f"{AUTH}{path}/token",
    }


_CONTEXTS = ["launch-ehr", "launch-standalone", "context-ehr-patient", "context-ehr-encounter"]
_PERMISSIONS = ["permission-offline", "permission-patient", "permission-user"]

EPIC: Document = {
    **_endpoints("/interconnect/oauth2"),
    "issuer": f"{AUTH}/interconnect/oauth2",
    "jwks_uri": f"{AUTH}/interconnect/api/epic/2019/Security/Open/PublicKeys/1/OIDC",
    "introspection_endpoint": f"{AUTH}/interconnect/oauth2/introspect",
    "token_endpoint_auth_methods_supported": [
        "client_secret_post", "client_secret_basic", "private_key_jwt",
    ],
    "grant_types_supported": ["authorization_code", "client_credentials"],
    "scopes_supported": ["epic.scanning.dmsusertoken", "fhirUser", "launch", "openid", "profile"],
    "response_types_supported": ["code"],
    "code_challenge_methods_supported": ["S256"],
    "capabilities": [
        *_CONTEXTS, *_PERMISSIONS, "permission-v1", "permission-v2", "client-public",
        "client-confidential-symmetric", "client-confidential-asymmetric", "context-banner",
        "context-style", "authorize-post", "sso-openid-connect",
    ],
}  # fmt: skip
ORACLE: Document = {
    **_endpoints("/tenants/t/protocols/oauth2/profiles/smart-v1/personas/provider"),
    "revocation_endpoint": f"{AUTH}/tenants/t/protocols/oauth2/profiles/smart-v1/token/revoke",
    "jwks_uri": f"{AUTH}/jwk",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
    "grant_types_supported": ["authorization_code", "client_credentials"],
    "scopes_supported": ["launch", "openid", "fhirUser", "online_access", "patient/Patient.read"],
    "code_challenge_methods_supported": ["S256"],
    "capabilities": [*_CONTEXTS, "permission-user", "permission-v1", "sso-openid-connect"],
}
ATHENA: Document = {
    **_endpoints("/oauth2/v1"),
    "issuer": "https://athena.okta.example/oauth2/aus",
    "jwks_uri": f"{AUTH}/oauth2/v1/keys",
    "revocation_endpoint": f"{AUTH}/oauth2/v1/revoke",
    "introspection_endpoint": f"{AUTH}/oauth2/v1/introspect",
    "token_endpoint_auth_methods_supported": [
        "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none",
    ],
    "grant_types_supported": ["authorization_code", "client_credentials"],
    "code_challenge_methods_supported": ["S256"],
    "capabilities": [
        *_CONTEXTS, *_PERMISSIONS, "permission-v1", "permission-v2", "client-public",
        "client-confidential-asymmetric", "sso-openid-connect", "health-cards",
    ],
}  # fmt: skip
LAUNCHER: Document = {
    **_endpoints("/v/r4/auth"),
    "issuer": f"{AUTH}/v/r4/fhir",
    "jwks_uri": f"{AUTH}/keys",
    "introspection_endpoint": f"{AUTH}/v/r4/auth/introspect",
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "scopes_supported": [
        "openid", "profile", "fhirUser", "launch", "launch/patient", "patient/*.*", "user/*.*",
        "offline_access", "online_access",
    ],
    "code_challenge_methods_supported": ["S256"],
    "capabilities": [
        *_CONTEXTS, *_PERMISSIONS, "permission-v1", "permission-v2", "client-public",
        "client-confidential-symmetric", "client-confidential-asymmetric", "context-banner",
    ],
}  # fmt: skip
"""HAPI's own starter has no authorization: a proxy in front names its endpoints in /metadata."""
HAPI_METADATA: Document = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "software": {"name": "HAPI FHIR Server"},
    "rest": [
        {
            "mode": "server",
            "security": {
                "extension": [
                    {
                        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/"
                        "oauth-uris",
                        "extension": [
                            {"url": "authorize", "valueUri": f"{AUTH}/authorize"},
                            {"url": "token", "valueUri": f"{AUTH}/token"},
                        ],
                    }
                ]
            },
            "resource": [
                {
                    "type": type_,
                    "interaction": [
                        {"code": code} for code in ("read", "search-type", "create", "update")
                    ],
                }
                for type_ in (
                    "Patient", "Practitioner", "Encounter", "Observation", "AllergyIntolerance",
                    "DiagnosticReport",
                )
            ],
        }
    ],
}  # fmt: skip

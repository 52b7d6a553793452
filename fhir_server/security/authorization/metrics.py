"""What the authorization server gave and refused; labels are words of the standards alone."""

from prometheus_client import CollectorRegistry, Counter

GRANTS = frozenset({"authorization_code", "refresh_token", "client_credentials"})
ERRORS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"}
    | {"unsupported_grant_type", "invalid_scope"}
)
"""RFC 6749 section 5.2."""
OTHER = "other"
ISSUED = "issued"


class AuthorizationMetrics:
    """Of one process; without a `registry` nobody reads them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._tokens = Counter(
            "medsage_tokens",
            "Requests to the token endpoint, by grant type and outcome",
            ("grant", "outcome"),
            registry=registry,
        )
        self._refusals = Counter(
            "medsage_authorization_refusals",
            "Requests that the authorization server refused, as the audit trail calls them",
            ("interaction", "status"),
            registry=registry,
        )
        self.sign_ins = Counter("medsage_sign_ins", "People who have signed in", registry=registry)

    def token(self, grant: str | None, error: str | None = None) -> None:
        """One request for tokens; `error` is the code that it was refused with."""
        outcome = ISSUED if error is None else error if error in ERRORS else OTHER
        self._tokens.labels(grant if grant in GRANTS else OTHER, outcome).inc()

    def refused(self, interaction: str, status: int) -> None:
        """One refusal that was written to the audit journal."""
        self._refusals.labels(interaction, str(status)).inc()

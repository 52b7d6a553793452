"""What every page of the app is handed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import httpx
from jinja2 import Environment

from fhir_server.fhir.assessment import FROM_EHR
from smart_app.auditing import AppAudit
from smart_app.discovery import IssuerUnreachable, SmartConfiguration, discover
from smart_app.fhir_client import FhirClient, FhirFailure
from smart_app.issuers import AppConfig, Issuer
from smart_app.launch.own_scopes import chart_access, chart_tag
from smart_app.own_tokens import OwnTokens, or_failure
from smart_app.sessions import Sessions

CONFIGURATION_SECONDS = 300.0


@dataclass(frozen=True)
class Parts:
    """The app's surroundings: settings, ports, clock and ids, all injected."""

    config: AppConfig
    http: httpx.AsyncClient
    sessions: Sessions
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    templates: Environment
    configurations: dict[str, tuple[float, SmartConfiguration]]
    audit: AppAudit
    tokens: OwnTokens

    @property
    def root(self) -> str:
        """The path under which the app is reached, as `/app`."""
        return self.config.root

    @property
    def origin(self) -> str:
        """Our own origin, as browsers write it in `Origin`."""
        url = urlsplit(self.config.base_url)
        return f"{url.scheme}://{url.netloc}"

    @property
    def redirect_uri(self) -> str:
        """The one redirect URI that is registered for the app."""
        return f"{self.config.base_url}/app/callback"

    async def configuration(self, issuer: Issuer) -> SmartConfiguration:
        """The issuer's SMART configuration, at most five minutes old."""
        now = self.clock().timestamp()
        read, known = self.configurations.get(issuer.fhir_base, (0.0, None))
        if known is None or now - read > CONFIGURATION_SECONDS:
            known = await discover(self.http, issuer.fhir_base)
            self.configurations[issuer.fhir_base] = (now, known)
        return known

    def in_own_name(
        self, scope: str, *, at: Issuer | None = None, tags: Sequence[Mapping[str, str]] = ()
    ) -> FhirClient:
        """The app itself as a FHIR client, at our own server or at another issuer, with no more
        rights than `scope`."""
        issuer = at or self.config.home

        async def token() -> str:
            try:
                configuration = await self.configuration(issuer)
            except IssuerUnreachable as error:
                raise FhirFailure(0) from error
            return await or_failure(self.tokens, issuer, configuration, scope)

        return FhirClient(self.http, issuer.fhir_base, token, tags, batches=issuer.is_own)

    def in_chart(self, patient: str) -> FhirClient:
        """The app itself on our copy of one chart (the Patient's id here), and on nothing else."""
        return self.in_own_name(chart_access(patient), tags=(FROM_EHR, chart_tag(patient)))

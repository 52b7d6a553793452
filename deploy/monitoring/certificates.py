"""Until when certificates are good: those in files of the settings, and the one that browsers are
shown at the public address, which may be a proxy's."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_server.settings import Settings

SERVING, AUTHORITY, PUBLIC = "serving", "authority", "public"
NAMES = frozenset({SERVING, AUTHORITY, PUBLIC})
LOOK_SECONDS = 3600.0
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Certificate:
    """Where it was found, and the moment after which nobody believes it; None where it could not
    be read, for the reason in `problem`, which else says why nobody believes it now."""

    name: str
    not_after: datetime | None
    problem: str = ""


def certificates(settings: Settings) -> Sequence[Certificate]:
    """What there is to look at; may take some seconds, as it asks the public address."""
    found = []
    for name, file in ((SERVING, settings.tls_certificate_file), (AUTHORITY, settings.tls_ca_file)):
        if file is not None:
            found.append(_in_file(name, file))
    if settings.base_url.startswith("https://"):
        found.append(_shown_at(settings.base_url))
    return found


def _in_file(name: str, file: Path) -> Certificate:
    """The first to end of a file of several: from then on the chain is broken."""
    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as problem:
        return Certificate(name, None, type(problem).__name__)
    return Certificate(name, min(each.not_valid_after_utc for each in chain))


def _shown_at(url: str) -> Certificate:
    """What is shown is looked at, not believed: nothing is sent there."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (parts.hostname or "", parts.port or 443)
    try:
        with (
            socket.create_connection(address, _CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(shown or b"")
        is_of_here = _is_of(certificate, parts.hostname or "")
    except (OSError, ValueError) as problem:
        return Certificate(PUBLIC, None, type(problem).__name__)
    strange = "" if is_of_here else f"is not one of {parts.hostname}: browsers refuse it"
    return Certificate(PUBLIC, certificate.not_valid_after_utc, strange)


def _is_of(certificate: x509.Certificate, host: str) -> bool:
    """Whether it names the host (RFC 6125): a name or an address of its own, or `*` for the first
    label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    known |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return bool(known & {host, f"*.{host.partition('.')[2]}"})


@dataclass(eq=False)
class CertificateDates(Collector):
    """The dates as they were within the last hour; what could not be read has no series."""

    look: Callable[[], Sequence[Certificate]]
    clock: Callable[[], float]
    found: Sequence[Certificate] = field(default=(), init=False)
    _looked: float = field(default=float("-inf"), init=False)

    async def refresh(self) -> None:
        """Look again, if that was not done within the hour."""
        if self.clock() - self._looked < LOOK_SECONDS:
            return
        self._looked = self.clock()
        self.found = await asyncio.to_thread(self.look)

    def collect(self) -> Iterator[Metric]:
        """One series for each certificate."""
        family = GaugeMetricFamily(
            "medsage_certificate_not_after_timestamp_seconds",
            "When a certificate ends",
            labels=("certificate",),
        )
        for each in self.found:
            if each.not_after is not None:
                family.add_metric((each.name,), each.not_after.timestamp())
        yield family

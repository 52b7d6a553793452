"""The FHIR servers (SMART `iss`) that may launch the app, and what it uses with each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Issuer:
    """One registered FHIR server.

    `fhir_base` is the exact `iss` of its launches; `private_jwk` is our ES384 key there;
    `frame_ancestors` are the origins whose pages may show the app in a frame; `standalone`
    says whether its users may sign in from the app's own Home page.
    """

    name: str
    fhir_base: str
    client_id: str
    private_jwk: Mapping[str, Any]
    frame_ancestors: tuple[str, ...] = ()
    standalone: bool = True


@dataclass(frozen=True)
class AppConfig:
    """Plain values the app is made with. `base_url` is the public origin (no final slash); the
    app lives under `{base_url}/app`. `secret` (32 bytes or more) keys the form tokens."""

    base_url: str
    issuers: tuple[Issuer, ...]
    secret: bytes
    session_seconds: int = 7200
    max_upload_bytes: int = 16 * 1024 * 1024
    max_images: int = 10

    @property
    def root(self) -> str:
        """The path under which the app is reached, as `/app`."""
        return f"{urlsplit(self.base_url).path}/app"

    def issuer(self, fhir_base: str) -> Issuer | None:
        """The registered issuer with this base URL; a final slash makes no difference."""
        wanted = fhir_base.rstrip("/")
        return next((i for i in self.issuers if i.fhir_base.rstrip("/") == wanted), None)

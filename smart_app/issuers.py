"""The FHIR servers (SMART `iss`) that may launch the app, and what it uses with each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smart_app.cell_check import CellCheck


@dataclass(frozen=True)
class Issuer:
    """One registered FHIR server.

    `fhir_base` is the exact `iss` of its launches; `frame_ancestors` are the origins whose pages
    may show the app in a frame; `standalone` says whether its users may sign in from the app's
    own Home page. The app proves who it is there by `private_jwk` (private_key_jwt), else by
    `secret`, else not at all (a public client).

    `is_own` marks our own server, on which the pages read and write. At any other, the chart is
    copied to our own first: `scopes` replaces what the app asks for there, `write_back` names the
    types that may be sent back, `acts_alone` says that the app may send in its own name
    (backend services) when the clinician's token has ended.
    """

    name: str
    fhir_base: str
    client_id: str
    private_jwk: Mapping[str, Any] | None
    frame_ancestors: tuple[str, ...] = ()
    standalone: bool = True
    secret: str | None = None
    is_own: bool = True
    scopes: str | None = None
    write_back: frozenset[str] = frozenset()
    acts_alone: bool = False


def none_registered() -> Sequence[Issuer]:
    """No record system but our own."""
    return ()


@dataclass(frozen=True)
class AppConfig:
    """Plain values the app is made with. `base_url` is the public origin (no final slash); the
    app lives under `{base_url}/app`. `issuers` are our own servers, the first of which keeps the
    copies of charts; `foreign()` gives those that an administrator registered, as they are now.
    A field holds 10 to 140 cells and an answer needs hundreds, so many images may be sent; all of
    an assessment travel in one transaction, in base64, and must stay under `max_total_bytes`.
    `secret` (32 bytes or more) keys the form tokens. `analyses_an_hour` is for each clinician of a
    registered record system; None is no limit. `cell_check` looks at uploads and counts their
    cells; without it nothing is said of them. Event streams end once `is_ending`, before the
    process does."""

    base_url: str
    issuers: tuple[Issuer, ...]
    secret: bytes
    session_seconds: int = 7200
    max_upload_bytes: int = 16 * 1024 * 1024
    max_images: int = 30
    is_ending: Callable[[], bool] = lambda: False
    max_total_bytes: int = 40 * 1024 * 1024
    foreign: Callable[[], Sequence[Issuer]] = none_registered
    analyses_an_hour: int | None = 50
    cell_check: CellCheck | None = None

    @property
    def root(self) -> str:
        """The path under which the app is reached, as `/app`."""
        return f"{urlsplit(self.base_url).path}/app"

    @property
    def home(self) -> Issuer:
        """Our own server."""
        return self.issuers[0]

    @property
    def all_issuers(self) -> tuple[Issuer, ...]:
        """Our own servers, then the registered ones."""
        return (*self.issuers, *self.foreign())

    def issuer(self, fhir_base: str) -> Issuer | None:
        """The registered issuer with this base URL; a final slash makes no difference."""
        wanted = fhir_base.rstrip("/")
        return next((i for i in self.all_issuers if i.fhir_base.rstrip("/") == wanted), None)

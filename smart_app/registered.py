"""The record systems that an administrator registered: a JSON file, read again when it changes.

    {"issuers": [{"name": "General Hospital", "fhir_base": "https://ehr.example/fhir",
                  "client_id": "…", "authentication": "app-key", "write_back": ["Observation"]}]}

Why a file: docs/adr/0017-foreign-issuers.md.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from smart_app.issuers import Issuer
from smart_app.launch.foreign_scopes import WRITABLE
from smart_app.launch.keys import public_part

log = logging.getLogger("medsage.app")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class BadRegistration(ValueError):
    """The file, or one registration in it, can't be used; the text says which and why."""


class Registration(BaseModel):
    """One record system. `authentication` is how the app proves who it is there: by its own key
    (`app-key`), a key or a secret in a file beside this one, or not at all (`public`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fhir_base: str
    client_id: str
    authentication: Literal["app-key", "key", "secret", "public"] = "app-key"
    file: str | None = None
    scopes: str | None = None
    write_back: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    acts_alone: bool = False

    @field_validator("name", "client_id")
    @classmethod
    def _has_words(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("must not be empty")
        return value

    @field_validator("fhir_base")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or is_local):
            raise ValueError("must be https (http on this machine alone)")
        is_plain = value.isascii() and not any(c.isspace() or c in "|,$&\\" for c in value)
        if parts.query or parts.fragment or parts.username or not is_plain:
            raise ValueError("must be an address without user, query or fragment")
        return value.rstrip("/")

    @field_validator("write_back")
    @classmethod
    def _is_writable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - set(WRITABLE):
            raise ValueError(f"can't send {', '.join(sorted(unknown))}: only {', '.join(WRITABLE)}")
        return value

    @field_validator("frame_ancestors")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if f"{parts.scheme}://{parts.netloc}" != origin or "*" in origin or ";" in origin:
                raise ValueError(f"{origin} is not an origin (https://host)")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        needs_file = self.authentication in {"key", "secret"}
        if needs_file != (self.file is not None):
            raise ValueError("file: is for the authentications key and secret, and they need it")
        if self.acts_alone and self.authentication != "app-key" and self.authentication != "key":
            raise ValueError("acts_alone: backend services prove who they are by a key")
        return self


def read_registrations(path: Path) -> list[Registration]:
    """What the file holds, [] when there is none; BadRegistration when it can't be used."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as problem:
        raise BadRegistration(f"{path} can't be read: {type(problem).__name__}") from problem
    listed = content.get("issuers") if isinstance(content, dict) else None
    if not isinstance(listed, list) or set(content) != {"issuers"}:
        raise BadRegistration(f'{path} must be {{"issuers": […]}}')
    found = [parsed(each, f"{path}, issuer {n}") for n, each in enumerate(listed, start=1)]
    bases = [each.fhir_base for each in found]
    if len(bases) != len(set(bases)):
        raise BadRegistration(f"{path} has an issuer twice")
    return found


def parsed(value: Any, where: str) -> Registration:
    """One registration; BadRegistration tells what is wrong with it."""
    try:
        return Registration.model_validate(value)
    except ValidationError as problem:
        told = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'issuer'}: {e['msg']}" for e in problem.errors()
        )
        raise BadRegistration(f"{where}: {told}") from None


def write_registrations(path: Path, registrations: Sequence[Registration]) -> None:
    """Replace the file in one step, so that nobody reads half of it. It holds no secret, only
    names of files, and the app of a container reads it as another user."""
    listed = [each.model_dump(mode="json", exclude_defaults=True) for each in registrations]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"issuers": listed}, file, indent=2, ensure_ascii=False)
    Path(draft).chmod(0o644)
    Path(draft).replace(path)


def issuer_of(registration: Registration, folder: Path, app_key: Mapping[str, Any]) -> Issuer:
    """The issuer as the app uses it; `folder` is where its files lie."""
    key: Mapping[str, Any] | None = None
    secret = None
    match registration.authentication:
        case "app-key":
            key = app_key
        case "key":
            key = _key(folder / str(registration.file))
        case "secret":
            secret = _text(folder / str(registration.file))
        case "public":
            pass
    return Issuer(
        name=registration.name,
        fhir_base=registration.fhir_base,
        client_id=registration.client_id,
        private_jwk=key,
        frame_ancestors=registration.frame_ancestors,
        standalone=False,
        secret=secret,
        is_own=False,
        scopes=registration.scopes,
        write_back=frozenset(registration.write_back),
        acts_alone=registration.acts_alone,
    )


def _key(path: Path) -> Mapping[str, Any]:
    try:
        key: dict[str, Any] = json.loads(_text(path))
        public_part(key)
    except (ValueError, AttributeError) as problem:
        raise BadRegistration(f"{path} is no private key: {problem}") from problem
    return key


def _text(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadRegistration(f"{path} can't be read: {type(problem).__name__}") from problem
    if not text:
        raise BadRegistration(f"{path} is empty")
    return text


class RegisteredIssuers:
    """The issuers of a file as they are now. The first reading must succeed; when a later one
    fails, what was known stays in force and the log says so."""

    def __init__(self, path: Path, app_key: Mapping[str, Any], own_base: str) -> None:
        self._path = path
        self._app_key = app_key
        self._own_base = own_base
        self._seen = self._mark()
        self._known = self._read()

    def __call__(self) -> Sequence[Issuer]:
        """The registered issuers."""
        now = self._mark()
        if now != self._seen:
            self._seen = now
            try:
                self._known = self._read()
            except BadRegistration as problem:
                log.error("issuers not read again: %s", problem)
        return self._known

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _read(self) -> tuple[Issuer, ...]:
        registrations = read_registrations(self._path)
        if any(each.fhir_base == self._own_base for each in registrations):
            raise BadRegistration(f"{self._own_base} is this server itself")
        folder = self._path.parent
        return tuple(issuer_of(each, folder, self._app_key) for each in registrations)

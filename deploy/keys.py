"""Secrets and client keys of an installation: from the settings or, in development, made once
and kept in the data folder, readable by its owner alone."""

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from pydantic import SecretStr

from fhir_server.settings import Settings

Jwk = dict[str, Any]
CURVE = "P-384"
SHORTEST_SECRET = 32


class MissingSecret(ValueError):
    """A production start without a secret; the text names the setting."""


@dataclass(frozen=True)
class Keys:
    """`secret` (32 bytes or more) seals cursors, cookies and forms; the JWKs are private."""

    secret: bytes
    app: Jwk
    worker: Jwk
    ehr: Jwk


def keys_of(settings: Settings) -> Keys:
    """The secrets in force; MissingSecret names what production lacks. App and worker are given
    only the key of their own client; the other is empty there."""
    is_kept = settings.profile == "dev"
    kept = settings.data / "keys" if is_kept else None
    role = settings.role
    return Keys(
        secret=_secret(settings.secret_key, kept),
        app=_jwk(settings.app_key, "app", kept) if role != "worker" else {},
        worker=_jwk(settings.worker_key, "worker", kept) if role != "app" else {},
        ehr=_jwk(None, "ehr", kept) if is_kept else {},
    )


def public_jwks(key: Jwk) -> dict[str, Any]:
    """The key set to register a client with: the public part alone."""
    return {"keys": [ECKey.import_key(key).as_dict(private=False)]}


def _secret(given: SecretStr | None, folder: Path | None) -> bytes:
    if given is not None:
        secret = given.get_secret_value().encode()
        if len(secret) < SHORTEST_SECRET:
            raise MissingSecret(f"MEDSAGE_SECRET_KEY must have {SHORTEST_SECRET} bytes or more")
        return secret
    if folder is None:
        raise MissingSecret("MEDSAGE_SECRET_KEY must be set in this profile")
    return _kept(folder / "secret", lambda: secrets.token_urlsafe(48)).encode()


def _jwk(given: SecretStr | None, name: str, folder: Path | None) -> Jwk:
    if given is not None:
        key: Jwk = json.loads(given.get_secret_value())
    elif folder is not None:
        key = json.loads(_kept(folder / f"{name}.jwk", lambda: json.dumps(_new_jwk(name))))
    else:
        raise MissingSecret(f"MEDSAGE_{name.upper()}_KEY must be set in this profile")
    if key.get("kty") != "EC" or key.get("crv") != CURVE or "d" not in key:
        raise MissingSecret(f"MEDSAGE_{name.upper()}_KEY must be a private EC {CURVE} JWK")
    return key


def _new_jwk(name: str) -> Jwk:
    kid = f"{name}-{secrets.token_hex(4)}"
    key = ECKey.generate_key(CURVE, {"kid": kid, "use": "sig", "alg": "ES384"}, private=True)
    return dict(key.as_dict(private=True))


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The file's text; made, and written for the owner alone, when there is none yet. Of several
    processes that make it at once, the first one's is kept and is whole."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(make(), "utf-8")
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text("utf-8")

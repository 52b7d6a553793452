"""`/register` (RFC 7591) and `/register/{client_id}` (RFC 7592): clients register themselves, and
read, change and take back what they registered.

What is registered waits for an administrator's approval (approval.py), and so does each change of
it. The registration access token, kept as a digest, is all that opens a registration again.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.approval import (
    end_grants,
    pending_clients,
    remove_client,
)
from fhir_server.security.authorization.client_metadata import (
    CHOSEN_HERE,
    KNOWN,
    OWN_FIELDS,
    metadata_of,
    read_metadata,
)
from fhir_server.security.authorization.client_secret import is_secret
from fhir_server.security.authorization.clients import KIND as CLIENT
from fhir_server.security.authorization.clients import (
    BadRegistration,
    Client,
    client_from,
    record_of,
)
from fhir_server.security.authorization.parameters import read_body
from fhir_server.security.authorization.records import digest
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    address_of,
    client_principal,
    commit,
    journal_refusal,
    trail,
)
from fhir_server.storage.port import Record, Transaction

MOST_PER_HOUR = 20
"""Registrations from one address."""
MOST_PENDING = 200
_WINDOW_SECONDS = 3600
_WAIT_SECONDS = 30 * 24 * 3600
"""After so long without a decision a registration is forgotten."""
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Json = dict[str, Any]


@dataclass
class Refused(Exception):
    """An answer that refuses: status, RFC 7591's code, and the reason."""

    status: int
    error: str
    text: str
    retry_seconds: int = _WINDOW_SECONDS


async def register(server: AuthorizationServer, request: Request) -> Response:
    """POST of metadata: 201 with the client's id, its secret if it is to have one, and the token
    that opens the registration. It does not work before it is approved."""

    async def registered() -> Response:
        await _check_room(server, request)
        metadata = await _metadata(request)
        secret, token = server.new_secret(), server.new_secret()
        client = _client(server, server.new_id(), metadata, (digest(secret),))
        client = replace(
            client, status="pending", registration=digest(token), registered=server.now()
        )
        made = record_of(client)
        expires = datetime.fromtimestamp(server.now() + _WAIT_SECONDS, UTC)
        record = Record(made.kind, made.id, made.value, expires=expires)
        await _write(server, request, client, "registered, to be approved", (record, 0))
        body = _told(server, client, token, metadata)
        return _json(201, body | (_new_secret(secret) if client.secrets else {}))

    return await _answered(server, request, registered)


async def read(server: AuthorizationServer, request: Request) -> Response:
    """GET: what is registered, and whether it is approved."""

    async def told() -> Response:
        record, token = await _own(server, request)
        return _json(200, _told(server, client_from(record), token, {}))

    return await _answered(server, request, told)


async def update(server: AuthorizationServer, request: Request) -> Response:
    """PUT of the whole metadata, which replaces what was registered; a change has to be approved
    again before the client works on."""

    async def updated() -> Response:
        record, token = await _own(server, request)
        metadata, old = await _metadata(request), client_from(record)
        _check_own(metadata, old)
        sent = {name: metadata[name] for name in metadata if name not in CHOSEN_HERE}
        secret = server.new_secret()
        read = _client(server, old.id, sent, old.secrets or (digest(secret),))
        client = _replaced(old, read)
        if client != old:
            made = record_of(client)
            kept = Record(made.kind, made.id, made.value, expires=record.expires)
            await _write(
                server, request, client, "changed, to be approved", (kept, record.revision)
            )
        is_new = bool(client.secrets and not old.secrets)
        body = _told(server, client, token, sent) | (_new_secret(secret) if is_new else {})
        return _json(200, body)

    return await _answered(server, request, updated)


async def remove(server: AuthorizationServer, request: Request) -> Response:
    """DELETE: the client is registered no more, and what was granted to it ends."""

    async def removed() -> Response:
        record, _ = await _own(server, request)
        client = client_from(record)
        await _write(server, request, client, "removed by itself", None)
        await end_grants(server.store, client.id)
        return Response(status_code=204, headers=_NO_STORE)

    return await _answered(server, request, removed)


async def _answered(
    server: AuthorizationServer, request: Request, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer, or the refusal with its audit record."""
    try:
        return await answer()
    except BadRegistration as problem:
        refused = Refused(400, problem.error, str(problem))
    except OAuth2Error as problem:
        refused = Refused(400, "invalid_client_metadata", str(problem.description))
    except Refused as problem:
        refused = problem
    await journal_refusal(
        server,
        request,
        "client-registration",
        status=refused.status,
        detail=f"{refused.error}: {refused.text}"[:300],
    )
    text = refused.text.encode("ascii", "replace").decode()  # as RFC 7591 section 3.2.2 has it
    answered = _json(refused.status, {"error": refused.error, "error_description": text})
    if refused.status == 401:
        answered.headers["WWW-Authenticate"] = 'Bearer realm="registration", error="invalid_token"'
    if refused.status == 429:
        answered.headers["Retry-After"] = str(refused.retry_seconds)
    return answered


async def _check_room(server: AuthorizationServer, request: Request) -> None:
    if not server.takes_registrations:
        raise Refused(403, "access_denied", "clients are registered by an administrator here")
    count = await server.counters.hit(f"register {address_of(request)}", _WINDOW_SECONDS)
    if count.hits > MOST_PER_HOUR:
        text = "too many registrations from one address"
        raise Refused(429, "temporarily_unavailable", text, count.resets_in_seconds)
    if len(await pending_clients(server.store)) >= MOST_PENDING:
        raise Refused(429, "temporarily_unavailable", "too many registrations wait for approval")


async def _metadata(request: Request) -> Json:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(400, "invalid_client_metadata", "the body must be application/json")
    try:
        metadata = msgspec.json.decode(await read_body(request))
    except (msgspec.DecodeError, RecursionError) as problem:
        raise Refused(400, "invalid_client_metadata", "the body is not JSON") from problem
    if not isinstance(metadata, dict):
        raise Refused(400, "invalid_client_metadata", "the body must be a JSON object")
    return metadata


def _client(
    server: AuthorizationServer, id: str, metadata: Mapping[str, Any], secrets: tuple[str, ...]
) -> Client:
    client = read_metadata(id, metadata, secrets=secrets)
    if server.is_secure and client.jwks_uri and not client.jwks_uri.startswith("https:"):
        raise BadRegistration("jwks_uri: must be https")
    return client


def _check_own(metadata: Mapping[str, Any], client: Client) -> None:
    """The members of RFC 7592 section 2.2 that name the client, and not another."""
    if metadata.get("client_id") != client.id:
        raise Refused(400, "invalid_client_metadata", "client_id must be that of the registration")
    secret = metadata.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and is_secret(client, secret)):
        raise Refused(400, "invalid_client_metadata", "client_secret is another, and not chosen")
    if given := set(metadata) & (CHOSEN_HERE - {"client_id", "client_secret"}):
        text = f"{', '.join(sorted(given))} is not the client's to send"
        raise Refused(400, "invalid_client_metadata", text)


def _replaced(old: Client, read: Client) -> Client:
    """The registration with what was sent instead of what was there; what an administrator set
    stays. A client that was refused may ask again by changing what it asks for."""
    kept = replace(old, **{name: getattr(read, name) for name in OWN_FIELDS})
    return kept if kept == old else replace(kept, status="pending")


async def _own(server: AuthorizationServer, request: Request) -> tuple[Record, str]:
    """The registration that the address and the token in the Authorization header name together,
    and that token. Which of the two is wrong is not said."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    record = await server.store.record(CLIENT, request.path_params["client_id"])
    kept = record.value.get("registration") if record is not None else None
    is_right = hmac.compare_digest(kept or "", digest(token.strip()))
    if record is None or kept is None or scheme.lower() != "bearer" or not is_right:
        raise Refused(401, "invalid_token", "the registration access token is not that of a client")
    return record, token.strip()


async def _write(
    server: AuthorizationServer,
    request: Request,
    client: Client,
    detail: str,
    put: tuple[Record, int] | None,
) -> None:
    """Write the record at its revision, or remove the client, together with the audit record."""
    entry = trail(server, request, client_principal(client)).entry(
        interaction="client-registration", outcome="success", status=200, detail=detail
    )

    async def unit(tx: Transaction) -> None:
        if put is None:
            await remove_client(tx, client.id)
        else:
            await tx.put_record(*put)
        await tx.journal(entry)

    await commit(server, unit)


def _told(server: AuthorizationServer, client: Client, token: str, sent: Mapping[str, Any]) -> Json:
    """What RFC 7591 section 3.2.1 answers; `status` and `ignored_metadata` are our own."""
    told: Json = {
        "client_id": client.id,
        "client_id_issued_at": int(client.registered or 0),
        "registration_access_token": token,
        "registration_client_uri": f"{server.issuer}/register/{client.id}",
        **metadata_of(client),
        "status": client.status,
    }
    if ignored := sorted(set(sent) - KNOWN):
        told["ignored_metadata"] = ignored
    return told


def _new_secret(secret: str) -> Json:
    return {"client_secret": secret, "client_secret_expires_at": 0}


def _json(status: int, body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(dict(body)), status, _NO_STORE, media_type="application/json")

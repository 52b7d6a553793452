"""`/revoke` (RFC 7009): a client gives back a token, and with it the whole grant.

An app that is closed inside an EHR ends its own grant here, and leaves the clinician's session
in the EHR alone.
"""

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from joserfc import jwt
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.security.authorization.assertion import Proof
from fhir_server.security.authorization.client_call import (
    json_answer,
    named_client,
    prove,
    refuse,
    spend,
)
from fhir_server.security.authorization.parameters import read_form
from fhir_server.security.authorization.records import Grant, RefreshToken, digest
from fhir_server.security.authorization.server import (
    AuthorizationServer,
    client_principal,
    commit,
    trail,
)
from fhir_server.security.keys import ACCESS_ALGORITHM
from fhir_server.security.tokens import UNREADABLE
from fhir_server.storage.port import Transaction


async def revoke(server: AuthorizationServer, request: Request) -> Response:
    """POST: 200 whether or not the token was still good, as the RFC asks; a token of another
    client is left alone."""
    client = None
    try:
        parameters = await read_form(request)
        client = await named_client(server, request, parameters)
        proof = await prove(server, request, parameters, client)
        if "token" not in parameters:
            raise InvalidRequestError("token is missing")
        await _revoke(server, request, proof, parameters["token"])
    except OAuth2Error as refusal:
        return await refuse(server, request, refusal, client)
    return json_answer(request, 200, {}, client)


async def _revoke(server: AuthorizationServer, request: Request, proof: Proof, token: str) -> None:
    entry = trail(server, request, client_principal(proof.client)).entry(
        interaction="token", outcome="success", status=200, detail="revoked"
    )

    async def unit(tx: Transaction) -> None:
        await spend(tx, proof)
        grant_id = await _grant_id(server, tx, token)
        record = await tx.record(Grant.KIND, grant_id) if grant_id else None
        if record is not None and record.value["client_id"] == proof.client.id:
            await tx.delete_record(Grant.KIND, record.id)
            await tx.journal(entry)

    await commit(server, unit)


async def _grant_id(server: AuthorizationServer, tx: Transaction, token: str) -> str | None:
    refresh = await tx.record(RefreshToken.KIND, digest(token))
    if refresh is not None:
        return str(refresh.value["grant_id"])
    try:
        claims = jwt.decode(token, server.keys.access, [ACCESS_ALGORITHM]).claims
    except UNREADABLE:
        return None
    grant_id = claims.get("grant")
    return None if grant_id is None else str(grant_id)

"""`/revoke` (RFC 7009): a client gives back a token, and with it the whole grant. A backend
service's token, which has no grant, ends alone.

An app that is closed inside an EHR ends its own grant here, and leaves the clinician's session
in the EHR alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
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
from fhir_server.security.tokens import REVOKED_KIND, UNREADABLE
from fhir_server.storage.port import Record, Transaction


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
    claims = await _access_claims(server, token)
    entry = trail(server, request, client_principal(proof.client)).entry(
        interaction="token", outcome="success", status=200, detail="revoked"
    )

    async def unit(tx: Transaction) -> None:
        await spend(tx, proof)
        if await _end(tx, proof.client.id, digest(token), claims):
            await tx.journal(entry)

    await commit(server, unit)


async def _access_claims(server: AuthorizationServer, token: str) -> Mapping[str, Any]:
    """The claims of an access token of this server; none when it is something else."""
    try:
        return dict((await server.keys.read(token, ACCESS_ALGORITHM)).claims)
    except UNREADABLE:
        return {}


async def _end(tx: Transaction, client_id: str, refresh_id: str, claims: Mapping[str, Any]) -> bool:
    """End the grant that the token belongs to, or a backend service's token, which has none.
    Whether there was anything to end."""
    refresh = await tx.record(RefreshToken.KIND, refresh_id)
    grant_id = refresh.value["grant_id"] if refresh else claims.get("grant")
    if grant_id is not None:
        record = await tx.record(Grant.KIND, grant_id)
        if record is None or record.value["client_id"] != client_id:
            return False
        await tx.delete_record(Grant.KIND, grant_id)
        return True
    if claims.get("client_id") != client_id:
        return False
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    await tx.put_record(Record(REVOKED_KIND, claims["jti"], {}, expires=expires))
    return True

"""The public keys of the app, for record systems that check its assertions by address."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_app.launch.keys import public_part
from smart_app.parts import Parts


async def jwks(parts: Parts, request: Request) -> Response:
    """RFC 7517: the key set to register as the client's `jwks_uri`."""
    keys = [
        public_part(issuer.private_jwk)
        for issuer in parts.config.all_issuers
        if issuer.private_jwk is not None
    ]
    different = [key for place, key in enumerate(keys) if key not in keys[:place]]
    return JSONResponse({"keys": different}, headers={"cache-control": "public, max-age=300"})

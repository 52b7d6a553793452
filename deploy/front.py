"""The front of a process: the first segment of the path decides which part answers."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

SMART_DISCOVERY = "/fhir/.well-known/smart-configuration"


class Front:
    """`parts` maps a first segment (`fhir`, `auth`, `app` …) to the application mounted there;
    `others` answers whatever is left (`/api`, `/health`, `/models`, `/`)."""

    def __init__(self) -> None:
        self.parts: Mapping[str, ASGIApp] = {}
        self.discovery: ASGIApp | None = None
        self.others: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.others is None:
            raise RuntimeError(f"this process does not serve {scope['type']} now")
        path: str = scope["path"]
        if path == SMART_DISCOVERY and self.discovery is not None:
            await self.discovery(scope, receive, send)
            return
        segment, slash, _ = path[1:].partition("/")
        part = self.parts.get(segment)
        if part is None:
            await self.others(scope, receive, send)
        elif not slash and segment != "fhir":
            await _to_folder(scope, send)
        else:
            await part({**scope, "root_path": f"/{segment}"}, receive, send)


async def _to_folder(scope: Scope, send: Send) -> None:
    """`/app` → `/app/`: relative links count from the folder."""
    if scope["method"] not in ("GET", "HEAD"):
        headers = [(b"allow", b"GET, HEAD")]
        await send({"type": "http.response.start", "status": 405, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    location = scope["path"].encode() + b"/" + query
    await send({"type": "http.response.start", "status": 307, "headers": [(b"location", location)]})
    await send({"type": "http.response.body", "body": b""})

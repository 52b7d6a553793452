"""What a request is called in log lines and spans: the template of the path that answered it, never
the path, which may hold what belongs to a patient."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.rest.routes import template

_ROUTE = "medsage.route"


@dataclass
class Route:
    """What answers a request. Its name is worked out when it is asked for, after the answer; where
    no part took the request it is unknown."""

    ask: Callable[[], str] = lambda: "unknown"

    @property
    def name(self) -> str:
        """The template."""
        return self.ask().strip()


def told_in(scope: Scope) -> Route:
    """Where the part that answers says what it did; one for all who ask."""
    route: Route = scope.setdefault(_ROUTE, Route())
    return route


class NamedPart:
    """A part of the process, which tells the template of the path that it answered: `prefix` and
    that of Starlette's route, or what `shape` makes of the path for a part without such routes."""

    def __init__(
        self, prefix: str, app: ASGIApp, shape: Callable[[str], str] | None = None
    ) -> None:
        self._prefix = prefix
        self._app = app
        self._shape = shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = scope.get(_ROUTE)
        if route is not None:
            route.ask = lambda: f"{self._prefix}{self._of(scope)}"
        await self._app(scope, receive, send)

    def _of(self, scope: Scope) -> str:
        if self._shape is not None:
            return self._shape(scope["path"])
        route = scope.get("route")
        path = getattr(route, "path_format", None) or getattr(route, "path", None)
        if isinstance(path, str):
            return path
        endpoint = scope.get("endpoint")
        return f" {getattr(endpoint, '__name__', 'unknown')}"


def fhir_shape(path: str) -> str:
    """`/{type}/{id}` for `/fhir/Patient/1`."""
    return f"/{template(path.removeprefix('/fhir'))}".rstrip("/")

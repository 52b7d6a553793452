"""By which way notifications go: to this installation itself as all its requests do, to others
only where the settings let them."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import httpx

from deploy import tls
from deploy.monitoring.watch import in_trace
from deploy.process import Process
from deploy.tracing.requests import TracedTransport
from fhir_server.app import endpoints_of
from fhir_server.security.endpoints import Within

_SECONDS = 30.0


async def ways(process: Process, stack: AsyncExitStack) -> Callable[[str], httpx.AsyncClient]:
    """The client for an endpoint; the stack closes what it opens."""
    endpoints = endpoints_of(process.settings)
    outside: httpx.AsyncBaseTransport = Within(endpoints, tls.calling(process.settings))
    if process.is_traced:
        outside = TracedTransport(outside)
    others = await stack.enter_async_context(
        httpx.AsyncClient(
            transport=outside,
            timeout=_SECONDS,
            trust_env=False,
            event_hooks={"request": [in_trace]},
        )
    )
    return lambda endpoint: process.http if endpoints.is_own(endpoint) else others

"""Requests for the public origin reach the inner address; others are left alone."""

import httpx

from deploy.rerouted import Rerouted


async def sent(url: str, public: str = "https://medsage.example") -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    transport = Rerouted(httpx.MockTransport(answer), public, "http://server:5000")
    async with httpx.AsyncClient(transport=transport) as http:
        assert (await http.get(url)).status_code == 204
    return seen[0]


async def test_the_public_origin_is_reached_by_the_inner_address() -> None:
    request = await sent("https://medsage.example/fhir/Task?code=x%7Cy")
    assert str(request.url) == "http://server:5000/fhir/Task?code=x%7Cy"
    assert request.headers["Host"] == "medsage.example"
    assert request.headers["X-Forwarded-Proto"] == "https"


async def test_a_written_default_port_is_the_same_origin() -> None:
    request = await sent("https://medsage.example:443/auth/token")
    assert request.url.host == "server"


async def test_a_public_port_stays_in_the_host_header() -> None:
    request = await sent("https://medsage.example:8443/fhir", "https://medsage.example:8443")
    assert request.url.port == 5000
    assert request.headers["Host"] == "medsage.example:8443"


async def test_other_origins_are_left_alone() -> None:
    for url in (
        "https://ehr.example/fhir",
        "http://medsage.example/",
        "https://medsage.example:1/",
    ):
        request = await sent(url)
        assert str(request.url) == url
        assert "X-Forwarded-Proto" not in request.headers

"""Server-side request forgery: an address that somebody else chose is fetched from public
addresses alone, and from the one that was checked."""

from pathlib import Path

import pytest

from fhir_server.app import reach_of
from fhir_server.security import checked_fetch
from fhir_server.security.checked_fetch import (
    MOST_BYTES,
    CheckedFetch,
    Reach,
    Unreachable,
    is_allowed,
    networks_from,
)
from fhir_server.settings import Settings
from tests.loopback_site import Names, server_tls, site, trusting

LOOPBACK = networks_from("127.0.0.0/8, ::1")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=9\r\n"


def ok(body: bytes, *headers: bytes) -> bytes:
    return OK + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def _fetch(names: Names, *, is_open: bool = True, http: bool = True) -> CheckedFetch:
    reach = Reach(LOOPBACK if is_open else (), allows_http=http)
    return CheckedFetch(reach, resolve=names, trusted=trusting)


async def _refusal(fetch: CheckedFetch, url: str) -> str:
    with pytest.raises(Unreachable) as caught:
        await fetch(url)
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.5.5", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "ff02::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:db8::1", "2001:0:7f00:1::", "x", ""),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, ())


def test_public_addresses_and_the_operators_networks_are_allowed() -> None:
    for public in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"):
        assert is_allowed(public, ())
    own = networks_from("10.20.0.0/16, fd12::/32")
    for allowed in ("10.20.3.4", "::ffff:10.20.3.4", "fd12::7"):
        assert is_allowed(allowed, own)
    for outside in ("10.21.0.1", "127.0.0.1", "fd13::7"):
        assert not is_allowed(outside, own)


def test_networks_are_read_strictly() -> None:
    assert networks_from(" ") == ()
    for wrong in ("10.0.0.1/8", "localhost", "10.0.0.0/33"):
        with pytest.raises(ValueError):
            networks_from(wrong)


async def test_a_key_set_is_fetched_with_host_and_no_secrets() -> None:
    async with site(ok(b'{"keys":[]}')) as keys:
        got = await _fetch(Names(["127.0.0.1"]))(f"http://keys.test:{keys.port}/jwks?x=1")
        assert got.body == b'{"keys":[]}'
        assert got.headers["cache-control"] == "max-age=9"
        sent = keys.requests[0].decode().lower()
        assert sent.startswith("get /jwks?x=1 http/1.1")
        assert f"host: keys.test:{keys.port}" in sent
        assert "accept: application/json" in sent
        assert "cookie" not in sent
        assert "authorization" not in sent


async def test_nothing_is_sent_to_a_private_address_whatever_the_name() -> None:
    async with site(ok(b"{}")) as keys:
        for addresses in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"]):
            fetch = _fetch(Names(addresses), is_open=False)
            assert "not a public" in await _refusal(fetch, f"http://keys.test:{keys.port}/")
        assert keys.requests == []
    assert "no address" in await _refusal(_fetch(Names([])), "https://keys.test/")


async def test_a_name_that_changes_after_the_check_leads_nowhere_else() -> None:
    """DNS rebinding: `localhost` was 127.0.0.2 when it was checked. Whoever asked again would be
    led to 127.0.0.1, where this machine's own resolver has it."""
    async with (
        site(ok(b"checked"), host="127.0.0.2") as keys,
        site(ok(b"rebound"), port=keys.port) as other,
    ):
        names = Names(["127.0.0.2"], ["127.0.0.1"])
        got = await _fetch(names)(f"http://localhost:{keys.port}/")
        assert (got.body, names.asked) == (b"checked", 1)
        assert other.requests == []
        assert f"host: localhost:{keys.port}" in keys.requests[0].decode().lower()


async def test_an_address_that_does_not_answer_is_passed_over_for_the_next_of_the_same_answer() -> (
    None
):
    async with site(ok(b"{}")) as keys:
        names = Names(["127.0.0.2", "::1", "127.0.0.1"])
        assert (await _fetch(names)(f"http://keys.test:{keys.port}/")).body == b"{}"
        assert names.asked == 1
    assert "failed" in await _refusal(_fetch(names), f"http://keys.test:{keys.port}/")


async def test_https_is_checked_for_the_name_though_the_address_is_connected_to(
    tmp_path: Path,
) -> None:
    async with site(ok(b"{}"), server_tls(tmp_path)) as keys:
        fetch = _fetch(Names(["127.0.0.1"]), http=False)
        assert (await fetch(f"https://keys.test:{keys.port}/")).body == b"{}"
        for other in ("evil.test", "127.0.0.1"):
            assert "failed" in await _refusal(fetch, f"https://{other}:{keys.port}/")
        strict = CheckedFetch(Reach(LOOPBACK), resolve=Names(["127.0.0.1"]))
        assert "failed" in await _refusal(strict, f"https://keys.test:{keys.port}/")


async def test_http_is_refused_unless_it_is_allowed_and_other_schemes_always() -> None:
    async with site(ok(b"{}")) as keys:
        fetch = _fetch(Names(["127.0.0.1"]), http=False)
        assert "https" in await _refusal(fetch, f"http://keys.test:{keys.port}/")
        assert keys.requests == []
    for url in ("ftp://keys.test/", "file:///etc/passwd", "gopher://x/", "keys.test", ""):
        assert "https" in await _refusal(_fetch(Names(["127.0.0.1"])), url)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "302"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (ok(b"x" * (MOST_BYTES + 1)), "more than"),
        (ok(b"\x1f\x8b", b"Content-Encoding: gzip"), "compressed"),
        (b"SSH-2.0-OpenSSH\r\n", "failed"),
        (b"", "failed"),
    ],
)
async def test_anything_but_one_small_plain_answer_is_refused(answer: bytes, says: str) -> None:
    async with site(answer) as keys:
        url = f"http://keys.test:{keys.port}/"
        assert says in await _refusal(_fetch(Names(["127.0.0.1"])), url)
        assert len(keys.requests) == 1


async def test_an_answer_as_large_as_allowed_is_read() -> None:
    async with site(ok(b"x" * MOST_BYTES)) as keys:
        got = await _fetch(Names(["127.0.0.1"]))(f"http://keys.test:{keys.port}/")
        assert len(got.body) == MOST_BYTES


async def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_fetch, "SECONDS", 0.2)
    async with site(ok(b"{}"), pause=5) as keys:
        url = f"http://keys.test:{keys.port}/"
        assert "no answer" in await _refusal(_fetch(Names(["127.0.0.1"])), url)


def test_development_reaches_its_own_machine_and_production_the_internet_and_named_networks() -> (
    None
):
    dev = reach_of(_settings(profile="dev"))
    assert dev.allows_http
    assert is_allowed("127.0.0.1", dev.networks)
    assert not is_allowed("10.20.0.1", dev.networks)
    prod = reach_of(_settings(profile="prod", jwks_networks="10.20.0.0/16"))
    assert not prod.allows_http
    assert is_allowed("10.20.0.1", prod.networks)
    assert not is_allowed("127.0.0.1", prod.networks)
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        _settings(jwks_networks="10.20.0.0/16, 10.0.0.1/8")


def _settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


async def test_the_system_resolves_loopback_and_says_when_it_has_no_answer() -> None:
    assert "127.0.0.1" in await checked_fetch.resolve("127.0.0.1", 443)
    fetch = CheckedFetch(Reach())
    assert "not a public" in await _refusal(fetch, "https://127.0.0.1/")
    assert "not a public" in await _refusal(fetch, "https://[::1]/")
    assert "not a public" in await _refusal(fetch, "https://localhost/")

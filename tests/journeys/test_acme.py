"""A certificate from an authority, got through the shipped nginx configuration, renewed when it is
due, and taken up while requests are answered."""

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from tests.acme_server import Authority, acme_server
from tests.availability import ROOT
from tests.nginx_door import Door, free_port, opened

pytestmark = pytest.mark.nginx

_PATIENCE_SECONDS = 10.0


@dataclass
class Site:
    """The door, and the authority that looks at it."""

    door: Door
    authority: Authority

    @property
    def folder(self) -> Path:
        return self.door.certificate.parent

    def renew(self) -> str:
        """The script's run, as twice a day; what it said."""
        command = ["sh", str(ROOT / "deploy/nginx/acme.sh"), str(self.folder), "localhost"]
        command += ["op@medsage.test", "--server", self.authority.directory]
        done = subprocess.run(
            command,
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(self.authority.trusted)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shown(self, trust: ssl.SSLContext) -> x509.Certificate:
        """What a caller is shown, once the door has answered it a request."""
        with (
            socket.create_connection(("localhost", self.door.tls), 5) as plain,
            trust.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secured.recv(100).startswith(b"HTTP/1.1 303 ")
            return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")

    def wait_for_another(self, than: x509.Certificate) -> x509.Certificate:
        end = time.monotonic() + _PATIENCE_SECONDS
        while (now := self.shown(blind())) == than:
            assert time.monotonic() < end, "nginx does not take the certificate up"
            time.sleep(0.1)
        return now


@dataclass
class Callers:
    """Somebody who calls all the time; `failed` is why a call was not answered."""

    site: Site
    failed: list[str] = field(default_factory=list)
    answered: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def call(self) -> None:
        while not self.ended.is_set():
            try:
                self.site.shown(blind())
                self.answered += 1
            except (OSError, AssertionError) as problem:
                self.failed.append(repr(problem))
            time.sleep(0.02)


def blind() -> ssl.SSLContext:
    """Believes everybody: the authority changes under the caller."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in ("door", "authority"):
        (tmp_path / name).mkdir()
    nobody = free_port()
    with (
        opened(tmp_path / "door", server=nobody, app=nobody) as door,
        acme_server(tmp_path / "authority", door.plain) as authority,
    ):
        yield Site(door, authority)


@pytest.mark.acme
def test_a_certificate_is_got_kept_while_it_is_good_and_renewed_without_a_refused_request(
    site: Site,
) -> None:
    callers = Callers(site)
    calling = threading.Thread(target=callers.call)
    calling.start()
    try:
        makeshift = site.shown(blind())
        site.renew()
        first = site.wait_for_another(makeshift)
        root = ssl.create_default_context(cadata=site.authority.root())
        assert site.shown(root) == first

        assert "not yet due" in site.renew()
        due = site.folder / "acme/renewal/localhost.conf"
        due.write_text(f"renew_before_expiry = 100 days\n{due.read_text()}")
        site.renew()
        second = site.wait_for_another(first)
        assert site.shown(root).serial_number == second.serial_number != first.serial_number
    finally:
        callers.ended.set()
        calling.join()
    assert callers.failed == []
    assert callers.answered > 20
    assert (site.folder / "tls.key").stat().st_mode & 0o077 == 0


def test_files_that_do_not_fit_are_not_taken_up_and_the_door_stays_open(tmp_path: Path) -> None:
    nobody = free_port()
    with opened(tmp_path, server=nobody, app=nobody) as door:
        site = Site(door, Authority("", tmp_path, 0))
        before = site.shown(blind())
        make = [str(ROOT / "deploy/nginx/own_authority.sh"), str(tmp_path / "ca")]
        subprocess.run([*make, str(tmp_path / "new"), "localhost"], check=True)
        # A renewal that is halfway: the certificate is there, its key is not yet.
        (tmp_path / "new/tls.crt").rename(door.certificate)
        time.sleep(1)
        assert site.shown(blind()) == before
        (tmp_path / "new/tls.key").rename(door.certificate.with_name("tls.key"))
        after = site.wait_for_another(before)
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca/ca.crt"))
    assert trust.get_ca_certs()[0]["subject"] == tuple(
        ((("commonName", each.value),)) for each in after.issuer
    )

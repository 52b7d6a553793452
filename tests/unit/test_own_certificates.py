"""Certificates of one's own authority, and a process that takes up a renewed one."""

import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from deploy.tls import Renewal
from tests.availability import ROOT

SCRIPT = ROOT / "deploy/nginx/own_authority.sh"


def make(authority: Path, folder: Path, *hosts: str) -> subprocess.CompletedProcess[str]:
    command = [SCRIPT, authority, folder, *hosts]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def renewal(tmp_path: Path) -> Renewal:
    assert make(tmp_path / "ca", tmp_path / "tls", "medsage.test", "192.0.2.7").returncode == 0
    certificate, key = tmp_path / "tls/tls.crt", tmp_path / "tls/tls.key"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Renewal(context, certificate, key)


def shown(context: ssl.SSLContext, authority: Path, name: str) -> x509.Certificate:
    """What the context shows a caller who trusts the authority and expects the name."""
    trust = ssl.create_default_context(cafile=str(authority))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = trust.wrap_bio(back, there, server_hostname=name)
    called = context.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for each in (caller, called):
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return x509.load_der_x509_certificate(caller.getpeercert(binary_form=True) or b"")


def test_who_trusts_the_authority_trusts_what_it_makes_by_name_and_number(
    renewal: Renewal, tmp_path: Path
) -> None:
    for name in ("medsage.test", "192.0.2.7"):
        shown(renewal.context, tmp_path / "ca/ca.crt", name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(renewal.context, tmp_path / "ca/ca.crt", "other.test")
    assert (tmp_path / "ca/ca.key").stat().st_mode & 0o077 == 0


def test_a_renewed_certificate_is_taken_up_by_the_running_context(
    renewal: Renewal, tmp_path: Path
) -> None:
    authority = tmp_path / "ca/ca.crt"
    before = authority.read_bytes(), shown(renewal.context, authority, "medsage.test")
    assert not renewal.look()
    assert make(tmp_path / "ca", tmp_path / "tls", "medsage.test").returncode == 0
    assert renewal.look()
    assert not renewal.look()
    after = authority.read_bytes(), shown(renewal.context, authority, "medsage.test")
    assert after[0] == before[0]
    assert after[1].serial_number != before[1].serial_number


def test_half_of_a_renewal_is_not_taken_up(
    renewal: Renewal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = tmp_path / "ca/ca.crt"
    before = shown(renewal.context, authority, "medsage.test")
    assert make(tmp_path / "ca", tmp_path / "new", "medsage.test").returncode == 0
    (tmp_path / "new/tls.crt").replace(renewal.certificate)
    assert not renewal.look()
    assert "can't be used" in caplog.text
    assert shown(renewal.context, authority, "medsage.test") == before
    renewal.key.unlink()
    assert not renewal.look()
    (tmp_path / "new/tls.key").replace(renewal.key)
    assert renewal.look()
    assert shown(renewal.context, authority, "medsage.test") != before


def test_an_authority_without_its_key_is_not_made_anew(tmp_path: Path) -> None:
    assert make(tmp_path / "ca", tmp_path / "tls", "a.test").returncode == 0
    (tmp_path / "ca/ca.key").unlink()
    refused = make(tmp_path / "ca", tmp_path / "tls", "a.test")
    assert refused.returncode == 1
    assert "lost its key" in refused.stderr
    assert make(tmp_path / "ca", tmp_path / "tls").returncode == 2

"""A local ACME authority (Let's Encrypt's pebble), whose own certificate is of an authority that
the shipped script makes; tests that use it carry the marker `acme`."""

import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.availability import ROOT, pebble
from tests.nginx_door import free_port, wait_for


@dataclass(frozen=True)
class Authority:
    """Its directory, the certificate to trust when it is called, and its management port."""

    directory: str
    trusted: Path
    management: int

    def root(self) -> str:
        """The certificate by which those that it gives are judged (PEM)."""
        trust = ssl.create_default_context(cafile=str(self.trusted))
        url = f"https://localhost:{self.management}/roots/0"
        with urllib.request.urlopen(url, timeout=10, context=trust) as answer:
            found: bytes = answer.read()
        return found.decode()


@contextmanager
def acme_server(folder: Path, looks_at: int) -> Iterator[Authority]:
    """It looks at this port of localhost whether a name is somebody's."""
    script = ROOT / "deploy/nginx/own_authority.sh"
    subprocess.run([script, folder, folder, "localhost"], check=True, capture_output=True)
    port, management = free_port(), free_port()
    written = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "tls.crt"),
        "privateKey": str(folder / "tls.key"),
        "httpPort": looks_at,
        "tlsPort": free_port(),
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "90 days", "validityPeriod": 90 * 86400}},
    }
    file = folder / "pebble.json"
    file.write_text(json.dumps({"pebble": written}))
    program = pebble()
    assert program is not None
    # It would wait some seconds at random and refuse some requests, as clients must bear.
    quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (folder / "pebble.log").open("wb") as log:
        running = subprocess.Popen(
            [program, "-config", file], env={**os.environ, **quick}, stdout=log, stderr=log
        )
    try:
        wait_for(port)
        yield Authority(f"https://localhost:{port}/dir", folder / "ca.crt", management)
    finally:
        running.terminate()
        running.wait(10)

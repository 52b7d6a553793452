"""What some suites need beyond Python's packages, whether it is here, and what is missing if not.

A test asks for its suite with the marker of the same name; `tests/conftest.py` skips it with the
reason from here, or fails it where `CI=true` promises that everything is installed. What did not
run is listed by name at the end of the run, so that a green run is never mistaken for a whole one.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
MONGODB_URI = "MEDSAGE_TEST_MONGODB_URI"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# .ci/run reads these two lines and packs the package into the folder of tools.
NPM_PACKAGE = "fhirclient"
NPM_VERSION = "2.6.3"
# And these two: `go install GO_MODULE@GO_VERSION`.
GO_MODULE = "github.com/letsencrypt/pebble/v2/cmd/pebble"
GO_VERSION = "v2.10.3"
# And these two, where there is no kubectl.
KUSTOMIZE_MODULE = "sigs.k8s.io/kustomize/kustomize/v5"
KUSTOMIZE_VERSION = "v5.6.0"
TOOLS = (Path.home() / ".cache/medsage/tools", ROOT / ".tools")


@dataclass(frozen=True)
class Suite:
    """`missing` tells what is not here (None when the suite can run); `always_in_ci` makes that a
    failure under `CI=true`."""

    name: str
    missing: Callable[[], str | None]
    always_in_ci: bool = True


def in_ci() -> bool:
    """Whether this run must be whole."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


@cache
def program(*names: str) -> str | None:
    """The first of these programs on the PATH."""
    return next(filter(None, map(shutil.which, names)), None)


@cache
def chromium() -> str | None:
    """Debian's chromium, or what plays its part."""
    return program(*CHROMIUM_NAMES)


def fhirclient() -> Path | None:
    """The package of the SMART JS client, as `npm pack` leaves it, where it has been fetched."""
    packs = (folder / f"{NPM_PACKAGE}-{NPM_VERSION}.tgz" for folder in TOOLS)
    return next(filter(Path.is_file, packs), None)


def mongodb_uri() -> str | None:
    """The replica set that the tests were told to use, if any; else they start the stand-in."""
    return os.environ.get(MONGODB_URI) or None


def reference(path: str) -> Path:
    """Where this piece of the reference material lies when it is here."""
    return SHARED / path


def _module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _browser() -> str | None:
    if not _module("playwright"):
        return "the package playwright is not installed"
    return None if chromium() else f"no {CHROMIUM_NAMES[0]} on the PATH"


def _redis() -> str | None:
    if not _module("redis"):
        return "the package redis is not installed"
    return None if program("redis-server") else "no redis-server on the PATH"


def nginx() -> str | None:
    """Debian puts it where only root's PATH looks."""
    return program("nginx") or shutil.which("nginx", path="/usr/sbin")


def _nginx() -> str | None:
    return None if nginx() else "no nginx on the PATH"


def pebble() -> str | None:
    """The ACME server, on the PATH or where .ci/run builds it."""
    return program("pebble") or shutil.which("pebble", path=str(TOOLS[0] / "bin"))


def _acme() -> str | None:
    if not program("certbot"):
        return "no certbot on the PATH"
    wanted = f"GOBIN={TOOLS[0]}/bin go install {GO_MODULE}@{GO_VERSION}"
    return None if pebble() else f"no pebble: {wanted}"


def _prometheus() -> str | None:
    return None if program("promtool") else "no promtool on the PATH"


def _alertmanager() -> str | None:
    return None if program("amtool") else "no amtool on the PATH"


def kustomize() -> str | None:
    """What renders the Kubernetes manifests; .ci/run builds the second one."""
    built = (str(folder / "bin/kustomize") for folder in TOOLS)
    return program("kubectl", "kustomize") or next(filter(os.path.exists, built), None)


def _kustomize() -> str | None:
    wanted = f"GOBIN={TOOLS[0]}/bin go install {KUSTOMIZE_MODULE}@{KUSTOMIZE_VERSION}"
    return None if kustomize() else f"neither kubectl nor kustomize: {wanted}"


def _mongodb() -> str | None:
    if not _module("pymongo"):
        return "the package pymongo is not installed"
    if mongodb_uri():
        return None
    from deploy.dev_mongodb import NoServer, find

    try:
        find(os.environ)
    except NoServer as missing:
        return f"{MONGODB_URI} is not set, and {missing}"
    return None


def _fhirclient() -> str | None:
    if fhirclient():
        return None
    wanted = f"{NPM_PACKAGE}@{NPM_VERSION}"
    return f"not fetched: npm pack {wanted} --pack-destination {TOOLS[0]}"


def _shared() -> str | None:
    return None if SHARED.is_dir() else "no reference material beside the checkout in ../shared"


def _train() -> str | None:
    return None if _module("tensorflow") else "the extra train (TensorFlow) is not installed"


SUITES: Mapping[str, Suite] = {
    each.name: each
    for each in (
        Suite("browser", _browser),
        Suite("fhirclient", _fhirclient),
        Suite("redis", _redis),
        Suite("mongodb", _mongodb),
        Suite("nginx", _nginx),
        Suite("acme", _acme),
        Suite("prometheus", _prometheus),
        Suite("alertmanager", _alertmanager),
        Suite("kustomize", _kustomize),
        Suite("shared", _shared, always_in_ci=False),
        Suite("train", _train),
    )
}

"""What MedSAGE is built from, held against `requirements.lock` and `deploy/requirements.hashes`.

    python -m deploy.dependencies REPORT    # of `pip install --report REPORT`

ends with 1 and names each artifact that pip took and the hashes do not know. Only the standard
library is used: it runs on what was just installed.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK, HASHES = ROOT / "requirements.lock", ROOT / "deploy/requirements.hashes"
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Pins = Mapping[tuple[str, str], frozenset[str]]
"""(name, version) → the SHA-256 of each artifact of it; none in the lock."""

PERMISSIVE = re.compile(
    r"(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|0BSD|Zlib|CC0|HPND|Unlicense|MPL|Mozilla"
    r"|public domain|DFSG approved)",
    re.IGNORECASE,
)
EXPLAINED: Mapping[str, str] = {
    "axe-playwright-python": "MIT, as its repository says; the package does not",
    "fhirpathpy": "MIT, as its repository says; the package does not",
    "namex": "Apache-2.0, as its repository says; the package does not",
    "text-unidecode": "the Artistic License may be chosen; tests alone install it",
}
"""Packages whose licence is not said, or is one of several, and why they are used."""


def name_of(text: str) -> str:
    """A package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def pins(path: Path) -> Pins:
    """What a lock file pins, with the hashes that it names."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    text = path.read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin is not None:
            found[name_of(pin[1]), pin[2]] = frozenset(_HASH.findall(line))
    return found


def unpinned(path: Path) -> list[str]:
    """Lines of a lock file that name a package and no single version of it."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and line[0] not in "#-" and not _PIN.match(line)]


def unknown_artifacts(report: Mapping[str, Any], known: Pins) -> Iterator[str]:
    """What pip installed from the index and the hashes do not know."""
    for each in report["install"]:
        name, version = name_of(each["metadata"]["name"]), each["metadata"]["version"]
        archive = each["download_info"].get("archive_info")
        if archive is None:  # this folder itself
            continue
        digest = archive.get("hashes", {}).get("sha256")
        if digest not in known.get((name, version), frozenset()):
            yield f"{name} {version}: sha256 {digest} is not in {HASHES.name}"


def is_permissive(licences: Iterable[str]) -> bool:
    """Whether one of the texts in which a package says its licence is on the list, and none is
    a licence that wants more."""
    said = [each for each in licences if each and each != "UNKNOWN"]
    wants_more = any(re.search(r"\bA?L?GPL|General Public|SSPL|Commons", each) for each in said)
    return any(PERMISSIVE.search(each) for each in said) and not wants_more


def main(arguments: list[str]) -> int:
    """Say what is unknown in a report of pip."""
    if len(arguments) != 1:
        print("usage: python -m deploy.dependencies REPORT", file=sys.stderr)
        return 2
    report = json.loads(Path(arguments[0]).read_text("utf-8"))
    found = list(unknown_artifacts(report, pins(HASHES)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

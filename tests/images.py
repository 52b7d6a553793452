"""What the images of the roles have in them, without an image: the distributions that a role's
extras bring, and a Python that finds no others."""

import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.availability import ROOT

# Meta path finders come before what is installed: a name that no distribution of the image brings
# is as absent as there.
_ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    names = frozenset({names!r})

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""


def extras_of(role: str) -> frozenset[str]:
    """The optional dependencies that docker-compose.yml builds a role's image with."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    return frozenset(services[role]["build"]["args"]["EXTRAS"].split(","))


def distributions(extras: frozenset[str]) -> frozenset[str]:
    """The distributions that an installation with these extras has, as pip would resolve them."""
    found: dict[str, set[str]] = {}
    waiting = [("medsage", set(extras))]
    while waiting:
        name, wanted = waiting.pop()
        known = found.get(name)
        if known is not None and wanted <= known:
            continue
        found[name] = wanted | (known or set())
        waiting += _needs(name, found[name])
    return frozenset(found)


def _needs(name: str, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    for line in requires(name) or ():
        needed = Requirement(line)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in extras | {""}):
            yield canonicalize_name(needed.name), set(needed.extras)


def python_of(role: str, program: str) -> list[str]:
    """The command that runs `program` by a Python that finds what the role's image has."""
    there = distributions(extras_of(role))
    absent = sorted(
        module
        for module, owners in packages_distributions().items()
        if not any(canonicalize_name(owner) in there for owner in owners)
    )
    return [sys.executable, "-c", _ALONE.format(names=absent) + program]

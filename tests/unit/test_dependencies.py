"""The audit of what MedSAGE is built from: pinned, with hashes, under licences that allow it. What
it can't know offline: whether a version was yanked, or has a known weakness."""

import json
import os
import re
import tomllib
from importlib.metadata import Distribution, distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from deploy.dependencies import (
    EXPLAINED,
    HASHES,
    LOCK,
    ROOT,
    is_permissive,
    main,
    name_of,
    pins,
    unpinned,
)

WITH_PYTHON = frozenset({"pip", "setuptools", "wheel", "medsage"})


def installed() -> dict[str, Distribution]:
    return {name_of(each.metadata["Name"]): each for each in distributions()}


def licences(package: Distribution) -> list[str]:
    said = package.metadata
    classified = [each for each in said.get_all("Classifier") or () if each.startswith("License")]
    short = [(said.get(name) or "")[:80] for name in ("License-Expression", "License")]
    return [*short, *(each.rpartition(" :: ")[2] for each in classified)]


@pytest.mark.parametrize("path", [LOCK, HASHES], ids=lambda path: path.name)
def test_every_line_pins_one_version(path: Path) -> None:
    assert len(pins(path)) > 100
    assert unpinned(path) == []


def test_every_pin_has_hashes_and_both_files_say_the_same() -> None:
    hashed = pins(HASHES)
    assert set(hashed) == set(pins(LOCK)), "run `make lock` (or its second command alone)"
    assert [pin for pin, hashes in hashed.items() if not hashes] == []


def test_what_the_project_names_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {name_of(re.split(r"[\s<>=!~;\[]", each)[0]) for each in named} - {"medsage"}
    assert names - {name for name, _ in pins(LOCK)} == set()


@pytest.mark.skipif("CI" not in os.environ, reason="a developer's environment may hold more")
def test_what_is_installed_is_what_is_locked() -> None:
    found = {(name, each.version) for name, each in installed().items() if name not in WITH_PYTHON}
    assert found - set(pins(LOCK)) == set()


def test_every_licence_allows_the_use() -> None:
    locked = {name for name, _ in pins(LOCK)}
    wanting = {
        name: licences(each)
        for name, each in installed().items()
        if name in locked and name not in EXPLAINED and not is_permissive(licences(each))
    }
    assert wanting == {}
    assert set(EXPLAINED) <= locked, "explained and not used any more"


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        (["MIT"], True),
        (["", "BSD License"], True),
        (["UNKNOWN"], False),
        ([], False),
        (["GPL-3.0-only"], False),
        (["MIT", "GNU General Public License v2 (GPLv2)"], False),
        (["LGPL-2.1"], False),
        (["AGPL-3.0"], False),
        (["Proprietary"], False),
    ],
)
def test_licences_are_on_a_list_of_those_allowed(said: list[str], allowed: bool) -> None:
    assert is_permissive(said) == allowed


def report(name: str, version: str, digest: str | None) -> dict[str, Any]:
    archive = {} if digest is None else {"archive_info": {"hashes": {"sha256": digest}}}
    return {"metadata": {"name": name, "version": version}, "download_info": archive}


def test_an_artifact_that_the_hashes_do_not_know_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name, version), hashes = next(iter(pins(HASHES).items()))
    file = tmp_path / "report.json"
    good = [report(name, version, min(hashes)), report("medsage", "0.1.0", None)]
    file.write_text(json.dumps({"install": good}))
    assert main([str(file)]) == 0
    bad = [report(name, version, "0" * 64), report("unheard-of", "1", "1" * 64)]
    file.write_text(json.dumps({"install": good + bad}))
    assert main([str(file)]) == 1
    said = capsys.readouterr().err
    assert f"{name} {version}: sha256 000" in said
    assert "unheard-of 1" in said


def test_the_setup_holds_what_pip_took_against_the_hashes() -> None:
    script = (ROOT / "quickstart.sh").read_text("utf-8")
    assert "--report" in script
    assert "-m deploy.dependencies" in script

"""A backup that is not what was made is refused, whatever was done to it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_server.backup import parts
from tests.backup_world import Site, site

PART = "part-000000"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A full backup of several parts and one that goes on from it."""
    here = site(tmp_path_factory.mktemp("altered"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", 1000)
        here.write(*(f"Patient/{number}" for number in range(30)))
        here.done("create")
        here.write("Patient/later")
        here.done("create")
    assert len(list(here.made()[0].glob("part-*"))) > 3
    return here


@pytest.fixture
def here(made: Site, tmp_path: Path) -> Site:
    shutil.copytree(made.folder, tmp_path / "copy")
    return Site(tmp_path / "copy")


def flip(full: Path, _: Path) -> None:
    content = bytearray((full / PART).read_bytes())
    content[len(content) // 2] ^= 1
    (full / PART).write_bytes(content)


def cut_short(full: Path, _: Path) -> None:
    (full / PART).write_bytes((full / PART).read_bytes()[:-1])


def lengthen(full: Path, _: Path) -> None:
    (full / PART).write_bytes((full / PART).read_bytes() + b"x")


def take_last_part(full: Path, _: Path) -> None:
    max(full.glob("part-*")).unlink()


def swap_parts(full: Path, _: Path) -> None:
    first, second = (full / PART).read_bytes(), (full / "part-000001").read_bytes()
    (full / PART).write_bytes(second)
    (full / "part-000001").write_bytes(first)


def part_of_another(full: Path, later: Path) -> None:
    shutil.copy(later / PART, full / PART)


def add_part(full: Path, later: Path) -> None:
    shutil.copy(later / PART, full / "part-000099")


def edit_manifest(full: Path, _: Path) -> None:
    manifest = json.loads((full / "manifest.json").read_bytes())
    manifest["counts"]["version"] -= 1
    (full / "manifest.json").write_text(json.dumps(manifest))


def drop_part_from_manifest(full: Path, _: Path) -> None:
    manifest = json.loads((full / "manifest.json").read_bytes())
    manifest["parts"].pop()
    (full / "manifest.json").write_text(json.dumps(manifest))


def spoil_manifest(full: Path, _: Path) -> None:
    (full / "manifest.json").write_text("{")


def nest_manifest(full: Path, _: Path) -> None:
    (full / "manifest.json").write_text("[" * 200_000)


def take_manifest(full: Path, _: Path) -> None:
    (full / "manifest.json").unlink()


def take_manifest_of_the_newest(_: Path, later: Path) -> None:
    (later / "manifest.json").unlink()


def manifest_of_another(full: Path, later: Path) -> None:
    shutil.copy(later / "manifest.json", full / "manifest.json")


def take_parent(full: Path, _: Path) -> None:
    shutil.rmtree(full)


def rename(full: Path, _: Path) -> None:
    full.rename(full.with_name("20200101T000000Z-00000000"))


@pytest.mark.parametrize(
    "alter",
    [
        *(flip, cut_short, lengthen, take_last_part, swap_parts, part_of_another),
        *(edit_manifest, drop_part_from_manifest, spoil_manifest, take_manifest),
        *(nest_manifest, take_manifest_of_the_newest, manifest_of_another, take_parent, rename),
    ],
)
def test_it_is_refused(here: Site, alter: Callable[[Path, Path], None]) -> None:
    alter(*here.made())
    verified = here.run("verify")
    assert verified.exit_code == 1, verified.output
    assert verified.stderr.startswith("medsage: 20")
    restored = here.restored()
    assert restored.exit_code == 1, restored.output
    assert restored.stderr.startswith("medsage: 20")
    assert not (here.folder / "new").exists()


def test_a_part_that_belongs_to_nothing_is_named(here: Site) -> None:
    add_part(*here.made())
    assert "part-000099 is no part of it" in here.run("verify").stderr


def test_the_full_backup_of_another_store_can_t_stand_in_for_the_parent(
    here: Site, tmp_path: Path
) -> None:
    """Signed by the same key, and named like the one that it replaces."""
    full, _ = here.made()
    other = Site(tmp_path / "other")
    other.folder.mkdir()
    shutil.copy(here.folder / "key", other.folder / "key")
    other.write("Patient/another")
    other.done("create")
    (stranger,) = other.made()
    shutil.rmtree(full)
    shutil.copytree(stranger, full)
    assert f"is that of {stranger.name}" in here.run("verify").stderr


def test_what_goes_on_from_an_altered_backup_is_not_called_good(here: Site) -> None:
    full, later = here.made()
    flip(full, later)
    verified = here.run("verify")
    assert "is good" not in verified.stdout
    assert f"{later.name} goes on from {full.name}, which is not what was made" in verified.stderr


def test_untouched_it_is_believed(here: Site) -> None:
    assert here.done("verify").count("is good") == 2
    assert here.restored().exit_code == 0


def test_what_was_interrupted_is_no_backup_and_the_others_are_believed(here: Site) -> None:
    _, later = here.made()
    (later / "manifest.json").unlink()
    (later / "begun").touch()
    verified = here.done("verify")
    assert verified.count("is good") == 1
    for said in (verified, here.done("list")):
        assert f"{later.name} is being made, or was interrupted" in said
    assert here.restored().exit_code == 0
    assert "Patient/later" not in here.current()
    assert here.done("prune") == "", "it may still be written"
    later.rename(later.with_name("20200101T000000Z-00000000"))
    assert here.done("prune") == "took away 20200101T000000Z-00000000\n"
    assert len(here.made()) == 1


def test_pruning_says_how_to_get_past_a_backup_that_was_altered(here: Site) -> None:
    full, later = here.made()
    spoil_manifest(full, later)
    prune = ["prune", "--keep-days", "0", "--keep-least"]
    refused = here.run(*prune, "1")
    assert refused.exit_code == 1
    assert full.name in refused.stderr
    assert "create --full" in refused.stderr
    here.done("create", "--full")
    here.done("create", "--full")
    (here.folder / "aside").mkdir()
    full.rename(here.folder / "aside" / full.name)
    assert f"{later.name} goes on from {full.name}" in here.run(*prune, "3").stderr
    later.rename(here.folder / "aside" / later.name)
    assert here.done(*prune, "1").count("took away") == 1
    assert here.restored().exit_code == 0

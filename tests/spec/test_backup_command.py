"""`medsage backup`: made, listed, restored, gone back to a moment, taken away."""

import json
import resource
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy import drafts
from deploy.cli import app
from fhir_server.backup.parts import PartWriter
from tests.backup_world import Site, site


@pytest.fixture
def here(tmp_path: Path) -> Site:
    made = site(tmp_path)
    made.write("Patient/1", "Patient/2")
    return made


def test_the_second_backup_holds_what_has_changed_and_both_together_restore_everything(
    here: Site,
) -> None:
    keys = here.folder / "data/keys"
    keys.mkdir()
    (keys / "secret").write_text("of this installation")
    (keys / "secret").chmod(0o600)
    assert "full  (2 version, 1 record" in here.done("create")
    here.write("Patient/3")
    second = here.done("create")
    assert f"after {here.made()[0].name}  (1 version, 1 record" in second
    assert here.done("list").count("\n") == 2
    assert here.done("verify").count("is good") == 2
    assert here.restored().exit_code == 0
    assert here.current() == {"Patient/1", "Patient/2", "Patient/3"}
    copied = here.folder / "new/keys/secret"
    assert copied.read_text() == "of this installation"
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    assert not list(here.folder.glob(".new*"))


def test_nothing_that_was_written_can_be_read_in_a_backup(here: Site) -> None:
    here.done("create")
    content = b"".join(path.read_bytes() for path in here.backups.rglob("*") if path.is_file())
    assert b"Patient" not in content
    assert b"Amina" not in content


def test_a_drill_finds_the_last_backup_equal_though_the_source_went_on(here: Site) -> None:
    here.done("create")
    here.write("Patient/1", number=2)
    found = json.loads(here.done("drill", "--json"))
    assert found["equal"] is True
    assert found["compared"]["versions"] == 2
    assert found["recovery_point"]["age_seconds"] >= 0
    assert found["recovery_seconds"] > 0


def test_a_drill_without_a_target_makes_a_backup_for_itself(here: Site) -> None:
    asked = ["backup", "drill", "--data", str(here.folder / "data")]
    found = CliRunner().invoke(app, [*asked, "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["equal"] is True
    assert "recovery time" in CliRunner().invoke(app, asked).stdout
    assert not here.made()


def test_a_drill_fails_when_the_source_is_not_what_was_backed_up(here: Site) -> None:
    here.done("create")
    here.meddle("UPDATE history SET body = '{}' WHERE id = '1'")
    found = here.run("drill", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["differences"] == ["Patient/1 version 1"]


def test_a_restore_goes_back_to_a_position_or_a_time(here: Site) -> None:
    here.done("create")
    here.write("Patient/3")
    here.write("Patient/4")
    here.meddle("UPDATE history SET updated = updated + 1 WHERE id = '4'")
    here.done("create")
    first = {"Patient/1", "Patient/2", "Patient/3"}
    assert here.restored("--at", "3", name="then").exit_code == 0
    assert here.current("then") == first
    # The tests' writes are of a fixed time, which the first backup has already.
    second = here.made()[1].name
    at = ["--backup", second, "--at", "2026-11-24T08:00:00Z"]
    assert here.restored(*at, name="time").exit_code == 0
    assert here.current("time") == first
    late = here.restored("--at", "2126-01-01", name="late")
    assert late.exit_code == 1
    assert "too old" in late.stderr
    assert here.restored("--at", "yesterday", name="odd").exit_code == 2
    older = here.restored("--backup", here.made()[0].name, "--at", "3", name="older")
    assert older.exit_code == 1
    assert "too old" in older.stderr
    assert not (here.folder / "older").exists()


def test_a_restored_store_begins_a_chain_of_its_own(here: Site) -> None:
    here.done("create")
    here.restored()
    made = here.run("create", "--data", str(here.folder / "new"))
    assert made.exit_code == 0
    assert "  full  " in made.stdout


def test_a_copy_of_the_folder_that_goes_another_way_begins_anew_too(here: Site) -> None:
    here.done("create")  # which gives the store the identity that the copy has too
    shutil.copytree(here.folder / "data", here.folder / "copy/data")
    copy = Site(here.folder / "copy")
    here.write("Patient/mine")
    copy.write("Patient/other")
    here.done("create")
    key = str(here.folder / "key")
    made = copy.run("create", "--to", str(here.backups), "--key-file", key)
    assert "  full  " in made.stdout, made.output
    here.restored()
    assert here.current() == {"Patient/1", "Patient/2", "Patient/other"}
    assert "  full  " in here.done("create")
    here.restored(name="mine")
    assert here.current("mine") == {"Patient/1", "Patient/2", "Patient/mine"}


def test_after_an_erasure_the_next_backup_is_full(here: Site) -> None:
    here.write("Patient/1", number=2)
    here.write("Patient/3")
    here.done("create")
    here.forget("Patient/1")
    assert "  full  (3 version" in here.done("create")
    assert json.loads(here.done("drill", "--json"))["equal"] is True
    here.restored()
    assert here.current() == {"Patient/1", "Patient/2", "Patient/3"}


def test_what_was_erased_goes_with_the_older_backups_of_the_same_store(here: Site) -> None:
    here.write("Patient/1", number=2)
    here.done("create")
    here.write("Patient/3")
    here.done("create")
    here.erase("Patient/1")
    assert "  full  " in here.done("create")
    prune = here.done("prune", "--keep-least", "1", "--keep-days", "0")
    assert prune.count("took away") == 2
    assert len(here.made()) == 1


def test_a_target_that_is_taken_away_in_the_middle_has_no_backup(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartWriter.end

    async def ended(writer: PartWriter) -> None:
        await write(writer)
        shutil.rmtree(here.backups)

    monkeypatch.setattr(PartWriter, "end", ended)
    lost = here.run("create")
    assert lost.exit_code == 1
    assert "has lost" in lost.stderr
    assert here.made() == []


def test_a_restore_overwrites_nothing(here: Site) -> None:
    here.done("create")
    (here.folder / "new").mkdir()
    (here.folder / "new/note").write_text("mine")
    refused = here.restored()
    assert refused.exit_code == 1
    assert "is not empty" in refused.stderr
    assert [each.name for each in (here.folder / "new").iterdir()] == ["note"]


def test_a_restore_follows_a_link_to_an_empty_folder(here: Site) -> None:
    here.done("create")
    (here.folder / "disk/empty").mkdir(parents=True)
    (here.folder / "new").symlink_to(here.folder / "disk/empty")
    done = here.restored()
    assert done.exit_code == 0, done.output
    assert (here.folder / "new").is_symlink()
    assert (here.folder / "disk/empty/medsage.sqlite").exists()
    assert here.current() == {"Patient/1", "Patient/2"}


def test_a_restore_into_the_root_of_a_disk_is_refused_before_it_begins(here: Site) -> None:
    here.done("create")
    (here.folder / "new").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.path.ismount", lambda path: str(path) == str(here.folder / "new"))
        refused = here.restored()
    assert refused.exit_code == 1
    assert "name a folder inside it" in refused.stderr


def test_what_a_killed_restore_has_left_goes_with_the_next_and_nothing_else(here: Site) -> None:
    here.done("create")
    left, held, another = (
        here.folder / name for name in (".new.0123abcd", ".new.4567cdef", ".new.keep")
    )
    for each in (left, held, another):
        each.mkdir()
        (each / "medsage.sqlite").write_text("records")
    with drafts.held(held):
        assert here.restored().exit_code == 0
    assert sorted(here.folder.glob(".new*")) == [held, another]


def test_another_key_is_named_and_an_older_one_still_opens(here: Site) -> None:
    here.done("create")
    here.run("key", key="other")
    refused = here.run("verify", key="other")
    assert refused.exit_code == 1
    assert "is sealed by key" in refused.stderr
    assert here.run("restore", "--data", str(here.folder / "new"), key="other").exit_code == 1
    assert not (here.folder / "new").exists()
    here.done("key")
    here.done("create")
    assert here.done("verify").count("is good") == 2


def test_pruning_keeps_what_is_needed(here: Site) -> None:
    for number in range(3):
        here.write(f"Observation/{number}")
        here.done("create", *(["--full"] if number == 2 else []))
    old = ["--keep-days", "0"]
    assert here.done("prune", *old, "--keep-least", "2") == ""
    said = here.done("prune", *old, "--keep-least", "1", "--dry-run")
    assert said.count("would take away") == 2
    assert len(here.made()) == 3
    assert here.done("prune", *old, "--keep-least", "1").count("took away") == 2
    assert len(here.made()) == 1
    assert "is good" in here.done("verify")
    assert here.restored().exit_code == 0


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """The system refuses files longer than that, as it refuses them on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_room_nothing_half_made_is_left(here: Site) -> None:
    here.write("Binary/long", size=300_000)
    with small_files(250_000):
        full = here.run("create")
    assert full.exit_code == 1
    assert "no room is left" in full.stderr
    assert here.made() == []
    here.done("create")
    with small_files(250_000):
        full = here.restored()
    assert full.exit_code == 1
    assert "the store can't be written" in full.stderr
    assert not (here.folder / "new").exists()
    assert not list(here.folder.glob(".new*"))


def test_where_there_is_no_store_or_no_backup_that_is_said(here: Site) -> None:
    assert here.run("verify").exit_code == 1
    assert "there is no backup" in here.restored().stderr
    missing = here.run("create", "--data", str(here.folder / "nowhere"))
    assert missing.exit_code == 1
    assert "there is no store" in missing.stderr
    assert not (here.folder / "nowhere").exists()
    unset = CliRunner().invoke(app, ["backup", "list", "--from", str(here.backups)])
    assert unset.exit_code == 1
    assert "MEDSAGE_BACKUP_KEY_FILE" in unset.stderr

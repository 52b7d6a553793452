"""What `cleanup` of the shape of processes takes away, and what it leaves."""

from pathlib import Path

from typer.testing import CliRunner

from deploy.processes.shape import Shape
from deploy.processes.verbs import app
from tests.small_shape import planned


def test_data_is_removed_only_after_the_word(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    folder = str(shape.written.folder)
    refused = CliRunner().invoke(app, ["cleanup", "--all", "--folder", folder], input="yes\n")
    assert refused.exit_code == 1
    assert Shape.open(shape.written.folder).written == shape.written
    key = (shape.written.secrets / "encryption_master_key").read_text()
    assert CliRunner().invoke(app, ["cleanup", "--folder", folder]).exit_code == 0
    again = planned(tmp_path)
    assert (again.written.secrets / "encryption_master_key").read_text() == key
    gone = CliRunner().invoke(app, ["cleanup", "--all", "--folder", folder], input="REMOVE\n")
    assert gone.exit_code == 0
    assert not shape.written.folder.exists()


def test_data_alone_is_removed_for_a_restore(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    folder = shape.written.folder
    for place in ("parts/mongodb/data/file", "backups/a", "logs/b"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    given = ["cleanup", "--data", "--folder", str(folder)]
    refused = CliRunner().invoke(app, given, input="no\n")
    assert (refused.exit_code, "but not its secrets" in refused.stderr) == (1, True)
    assert (folder / "parts/mongodb/data/file").exists()
    assert CliRunner().invoke(app, given, input="REMOVE\n").exit_code == 0
    assert {each.name for each in folder.iterdir()} >= {"backups", "logs", "secrets"}
    assert not (folder / "parts").exists()
    assert planned(tmp_path).written.base_url == shape.written.base_url


def test_what_else_lies_in_the_folder_is_not_removed(tmp_path: Path) -> None:
    shape = planned(tmp_path)
    letter = shape.written.folder / "letter.txt"
    letter.write_text("of somebody else")
    given = ["cleanup", "--all", "--folder", str(shape.written.folder)]
    assert CliRunner().invoke(app, given, input="REMOVE\n").exit_code == 0
    assert list(shape.written.folder.iterdir()) == [letter]

"""Fields of other hospitals: none may set limits and be reported in one."""

import io
import tarfile
from pathlib import Path

import pytest

from models.training.cells import LeakError
from models.training.commands import WRONG_DATA, train_malaria
from models.training.external import check_no_picture_crosses
from models.training.recipe import Run
from models.training.study import BCCD, CELLS, CHULA


def archive_of(path: Path, pictures: dict[int, bytes]) -> Path:
    """An archive of the layout of Chula: a label and a picture for each number."""
    with tarfile.open(path, "w") as tar:
        for number, content in pictures.items():
            for name, held in (
                (f"Label/{number}.txt", b"1 1 0"),
                (f"Dataset/{number}.jpg", content),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(held)
                tar.addfile(member, io.BytesIO(held))
    return path


def test_a_picture_that_sets_limits_and_is_reported_is_a_leak_and_both_are_named(tmp_path):
    archive = archive_of(tmp_path / CHULA, {6: b"one", 9: b"two", 12: b"three", 15: b"three"})
    with pytest.raises(LeakError, match=r"Dataset/12\.jpg and Dataset/15\.jpg"):
        check_no_picture_crosses(archive, (0, 6), (3, 6))


def test_pictures_that_come_twice_within_one_set_or_in_none_are_no_leak(tmp_path):
    archive = archive_of(
        tmp_path / CHULA, {6: b"one", 12: b"one", 9: b"two", 15: b"two", 7: b"one", 8: b"two"}
    )
    check_no_picture_crosses(archive, (0, 6), (3, 6))


def test_training_refuses_such_an_archive_before_any_work(tmp_path, capsys):
    archive_of(tmp_path / CHULA, {12: b"three", 15: b"three"})
    for name in (CELLS, BCCD):
        (tmp_path / name).write_bytes(b"never read")
    assert train_malaria(tmp_path, Run(weights=tmp_path / "weights")) == WRONG_DATA
    told = " ".join(capsys.readouterr().err.split())
    assert "Dataset/12.jpg and Dataset/15.jpg" in told
    assert not (tmp_path / "weights").exists()

"""A hash of what made a result covers all that the result depends on, tables too."""

import ast
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from models.code_version import (
    IMAGE_CODE,
    NO_RESULT,
    RULES_CODE,
    image_code_sha256,
    rules_sha256,
)

ROOT = Path(__file__).parents[3]
TABLES = "fhir_server/fhir/assessment.py"
EVERY = pytest.mark.parametrize("patterns", [RULES_CODE, IMAGE_CODE], ids=["rules", "images"])


def covered(patterns: Sequence[str]) -> set[str]:
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in found}


def imported(file: str) -> Iterator[str]:
    """The project's own files that a file imports, inside functions too."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        match node:
            case ast.Import(names=names):
                modules = [each.name for each in names]
            case ast.ImportFrom(module=str(module), level=0, names=names):
                modules = [module, *(f"{module}.{each.name}" for each in names)]
            case ast.ImportFrom():
                raise AssertionError(f"{file}: a relative import is not followed here")
            case _:
                continue
        for name in modules:
            path = f"{name.replace('.', '/')}.py"
            if (ROOT / path).exists():
                yield path


@EVERY
def test_what_a_result_depends_on_is_in_its_hash(patterns: Sequence[str]) -> None:
    files = covered(patterns)
    forgotten = {
        f"{file} imports {other}"
        for file in files
        for other in imported(file)
        if other not in files and other not in NO_RESULT
    }
    assert not forgotten, "add it to models/code_version.py, or say there why no result depends"


@EVERY
def test_every_file_of_the_list_is_there(patterns: Sequence[str]) -> None:
    assert [each for each in patterns if not list(ROOT.glob(each))] == []


def test_what_is_said_to_make_no_result_is_imported() -> None:
    files = covered((*RULES_CODE, *IMAGE_CODE))
    assert set(NO_RESULT) <= {other for file in files for other in imported(file)}


@pytest.mark.parametrize("sha256", [rules_sha256, image_code_sha256])
def test_another_table_makes_another_hash(sha256: Callable[[Path], str], tmp_path: Path) -> None:
    for file in covered((*RULES_CODE, *IMAGE_CODE)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    assert sha256(tmp_path) == sha256(ROOT)
    elsewhere = tmp_path / "changed"
    shutil.copytree(tmp_path, elsewhere)
    tables = (elsewhere / TABLES).read_text()
    assert "(10, 350), (40, 180)" in tables

    (elsewhere / TABLES).write_text(tables.replace("(10, 350)", "(10, 400)"))

    assert sha256(elsewhere) != sha256(ROOT)

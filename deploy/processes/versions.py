"""Copies of the code that runs, so that an upgrade can go back to what was there before."""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = ("deploy", "fhir_server", "models", "smart_app", "terminology")
"""What a role runs, as the checkout's folders are named."""
_LEFT_OUT = {"deploy/secrets", "deploy/issuers"}
_DIGITS = 12


def kept(root: Path, folder: Path) -> Path:
    """The copy of the checkout's code in the folder, made if it is not there. It is named by its
    content and by the interpreter that is to run it."""
    target = folder / _digest(root)
    if target.is_dir():
        return target
    draft = folder / f".{target.name}.new"
    shutil.rmtree(draft, ignore_errors=True)
    for package in PACKAGES:
        # Compiled files go along: they name the times of their sources, which are copied too.
        shutil.copytree(root / package, draft / package, ignore=_left_out(root))
    draft.rename(target)
    return target


def prune(folder: Path, used: set[Path]) -> None:
    """Remove the copies that nobody runs."""
    if not folder.is_dir():
        return
    for each in folder.iterdir():
        if each not in used:
            shutil.rmtree(each)


def _digest(root: Path) -> str:
    found = hashlib.sha256(sys.executable.encode())
    for file in _files(root):
        found.update(f"{file.relative_to(root)}\0".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:_DIGITS]


def _files(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            is_ours = "__pycache__" not in file.parts and not any(
                str(file.relative_to(root)).startswith(f"{each}/") for each in _LEFT_OUT
            )
            if is_ours and file.is_file():
                yield file


def _left_out(root: Path) -> Callable[[str, list[str]], list[str]]:
    def ignored(folder: str, names: list[str]) -> list[str]:
        here = Path(folder).relative_to(root)
        return [name for name in names if str(here / name) in _LEFT_OUT]

    return ignored

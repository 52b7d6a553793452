"""The commands of "Backup and restore" in docs/operating.md, run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from tests.backup_world import Site

PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"


def lines() -> list[str]:
    """The lines of the section's blocks."""
    _, _, section = PAGE.read_text("utf-8").partition("\n## Backup and restore\n")
    section, _, _ = section.partition("\n## ")
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_does_what_it_is_there_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Site(tmp_path)
    here.write("Patient/1")
    verbs = []
    for line in lines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "export":
            for name, _, value in (each.partition("=") for each in arguments):
                monkeypatch.setenv(name, value)
            continue
        assert program == "medsage", line
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{line}: {done.output}"
        verbs.append(arguments[1])
    assert {*verbs} == {"key", "create", "list", "verify", "prune", "drill", "restore"}
    assert here.current("restored") == {"Patient/1"}
    assert here.current("as-it-was") == set()

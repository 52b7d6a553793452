"""The blocks of commands of docs/operating.md, and the folder and shell in which they are run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.availability import ROOT
from tests.warm_medsage import CLIENT

PAGE = ROOT / "docs/operating.md"
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^##+ (.*)$", re.MULTILINE)
_OTHER_LANGUAGES = frozenset({"json", "text", "yaml", "ini", "nginx"})
_ENDS = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"
_LINKED = ("deploy", "docs", "fhir_server", "models", "smart_app", "terminology", "bench", "tests")
_COPIED = ("quickstart.sh", "pyproject.toml", "requirements.lock")


@dataclass(frozen=True)
class Block:
    """One block: under which heading it stands, what it needs (`needs=…`), its lines."""

    heading: str
    needs: str | None
    text: str

    @property
    def name(self) -> str:
        return f"{self.heading}: {self.text.splitlines()[0]}"


def blocks() -> list[Block]:
    """Every block of commands, in the order of the page; one without a language is commands."""
    page, found = PAGE.read_text("utf-8"), []
    for each in _FENCE.finditer(page):
        language, *words = each["info"].split() or ["sh"]
        if language in _OTHER_LANGUAGES:
            continue
        assert language == "sh", f"a block of {language}: commands are sh"
        headings = _HEADING.findall(page, 0, each.start())
        needs = next((word.removeprefix("needs=") for word in words), None)
        found.append(Block(headings[-1] if headings else "", needs, each["text"]))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `medsage` command in the text of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\||&&|;|&(?!&)", re.sub(r"\s#.*$", "", line)):
            if "medsage " in part and "'" not in part.partition("medsage ")[0]:
                words = shlex.split(part.partition("medsage ")[2].partition(" <")[0])
                yield words


@dataclass(frozen=True)
class Newcomer:
    """A fresh checkout at `folder`, and the variables of a shell in it."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, script: str, seconds: float) -> tuple[int, str]:
        """The script in one shell, which ends at the first command that fails, and everything
        that it has begun with it; its exit code and what was said."""
        said = self.folder.parent / "said"
        with said.open("wb") as output:
            code = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", f"{_ENDS}\n{script}"],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=seconds,
                start_new_session=True,
            ).returncode
        return code, said.read_text("utf-8")


@contextmanager
def newcomer(folder: Path, **variables: str) -> Iterator[Newcomer]:
    """A checkout whose setup has been done once: what it installs is what this test runs on."""
    checkout = folder / "checkout"
    programs = checkout / ".venv/bin"
    programs.mkdir(parents=True)
    for name in _LINKED:
        (checkout / name).symlink_to(ROOT / name)
    for name in _COPIED:
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    (checkout / "quickstart.sh").chmod(0o755)
    # Were anything left to install, it would go into the environment of this test.
    refused = 'if [ "${1-} ${2-} ${3-}" = "-m pip install" ]; then exit 1; fi\n'
    _program(programs / "python", f'{refused}exec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "client.py").write_text(CLIENT)
    client = shlex.quote(str(folder / "client.py"))
    _program(programs / "medsage", f'exec {shlex.quote(sys.executable)} -S -E {client} "$@"\n')
    _installed(checkout)
    _versioned(checkout, folder / "upstream.git")
    socket = str(folder / "warm")
    given = {
        "PATH": f"{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "WARM_MEDSAGE": socket,
        **variables,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.warm_medsage", socket],
        cwd=ROOT,
        env=given,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as warm:
        assert warm.stdin is not None
        assert warm.stdout is not None
        assert warm.stdout.readline() == b"ready\n"
        try:
            yield Newcomer(checkout, given)
        finally:
            warm.stdin.close()
            warm.stdout.close()


def _program(file: Path, text: str) -> None:
    file.write_text(f"#!/usr/bin/env bash\n{text}")
    file.chmod(0o755)


def _installed(checkout: Path) -> None:
    """As quickstart.sh notes what it has installed."""
    files = ["pyproject.toml", "requirements.lock"]
    script = f"cat {' '.join(files)} | cksum | tr -d ' '"
    versions = subprocess.run(
        ["bash", "-c", script], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    (checkout / ".venv/medsage-installed").write_text(f"{versions} vision\n")


def _versioned(checkout: Path, upstream: Path) -> None:
    """A repository with somewhere to pull from."""
    as_somebody = ["-c", "user.name=Newcomer", "-c", "user.email=newcomer@example.org"]

    def git(*words: str) -> None:
        command = ["git", *as_somebody, "-C", str(checkout), *words]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message=A release")
    git("clone", "--quiet", "--bare", ".", str(upstream))
    git("remote", "add", "origin", str(upstream))
    git("fetch", "--quiet")
    git("branch", "--quiet", "--set-upstream-to=origin/main")


def script_of(found: Sequence[Block], replaced: Mapping[str, str]) -> str:
    """One script of the blocks that can run, which says where it is; `replaced` are words of the
    page, and what stands in their place here."""
    lines, met = [], set()
    for block in found:
        if block.needs is not None:
            continue
        text = block.text
        for word, other in replaced.items():
            if word in text:
                met.add(word)
                text = text.replace(word, other)
        lines += [f"echo {shlex.quote(f'== {block.name}')}", text]
    assert met == set(replaced), set(replaced) - met
    return "\n".join(lines)

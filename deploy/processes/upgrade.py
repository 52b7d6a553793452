"""Going to the code that is there now, and back when a part does not get ready with it."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.processes import programs
from deploy.processes.part import NotReady, Part
from deploy.processes.shape import Shape

Tell = Callable[[str], None]


class WentBack(Exception):
    """A part did not get ready, and what was replaced before it runs as before, unless the text,
    which says which part and why, says that one did not."""


def medsage(shape: Shape, role: str, code: Path, arguments: Sequence[str]) -> int:
    """Run `medsage` with this code and with the environment and secrets of a part of the role;
    its exit code. What it writes goes where ours goes."""
    part = next(each for each in shape.parts.values() if each.role == role)
    programs.PROGRAMS[role].command(shape.written, part.slot, part.port, code)
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-P", "-m", "deploy.cli", *arguments],
        env=programs.environment(shape.written, part.slot, code) | {"MEDSAGE_ROLE": role},
        cwd=shape.written.own(part.name),
        check=False,
    ).returncode


def moved(shape: Shape, code: Path, tell: Tell) -> None:
    """Every part that runs our code runs this one, one after the other, while requests are
    answered. WentBack when one does not get ready, after those before it run theirs again."""
    done: list[tuple[Part, Path]] = []
    try:
        for part in shape.replaceable:
            before = part.state.running
            if before is None or Path(before.code) != code or part.pid is None:
                part.replace(code, shape.reload_door)
                done.append((part, code if before is None else Path(before.code)))
                tell(f"{part.name} runs the new version")
        shape.reload_door(code)
    except NotReady as problem:
        _go_back(shape, done, tell, problem)
        raise WentBack(f"the old version runs on, because {problem}") from problem


def _go_back(
    shape: Shape, done: Sequence[tuple[Part, Path]], tell: Tell, problem: NotReady
) -> None:
    for part, earlier in reversed(done):
        try:
            part.replace(earlier, shape.reload_door)
        except NotReady as another:
            raise WentBack(
                f"{problem}\nand the way back ends here, so that two versions run: {another}"
            ) from another
        tell(f"{part.name} runs the old version again")

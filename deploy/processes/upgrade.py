"""Going to the code that is there now, and back when a part does not get ready with it."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.beside import MAY, MUST_STOP
from deploy.processes import plan, programs, roles
from deploy.processes.part import NotReady, Part
from deploy.processes.shape import Shape

Tell = Callable[[str], None]


class WentBack(Exception):
    """A part did not get ready, and what was replaced before it runs as before, unless the text,
    which says which part and why, says that one did not."""


def medsage(
    shape: Shape, role: str, code: Path, arguments: Sequence[str], module: str = "deploy.cli"
) -> int:
    """Run `medsage` (or another module) with this code and with the environment and secrets of a
    part of the role; its exit code. What it writes goes where ours goes."""
    part = next(each for each in shape.parts.values() if each.role == role)
    programs.PROGRAMS[role].command(shape.written, part.slot, part.port, code)
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-P", "-m", module, *arguments],
        env=programs.environment(shape.written, part.slot, code) | {"MEDSAGE_ROLE": role},
        cwd=shape.written.own(part.name),
        check=False,
    ).returncode


def brought(shape: Shape, code: Path, tell: Tell) -> None:
    """The store is brought forward to this code, and every part that runs our code runs it. Where
    the version that runs could not use the store afterwards, it stops before: then nginx answers
    503 meanwhile, and there is no way back but a backup. WentBack or NotReady when a part does not
    get ready."""
    beside = medsage(shape, "worker", code, [], "deploy.beside")
    if beside not in (MAY, MUST_STOP):
        raise WentBack("the store can't be asked (above); nothing was replaced")
    if beside == MUST_STOP:
        for part in reversed(shape.replaceable):
            part.stop()
            tell(f"{part.name} was stopped")
    if medsage(shape, "worker", code, ["migrate"]):
        left = "nothing was replaced"
        if beside == MUST_STOP:
            left = "what was stopped stays so: mend it, and prod goes on with the new version"
        raise WentBack(f"the store was not brought forward (above); {left}")
    if beside == MAY:
        moved(shape, code, tell)
        return
    shape.code = code
    shape.start()
    shape.reload_door(code)
    tell("every part runs the new version")


def moved(shape: Shape, code: Path, tell: Tell) -> None:
    """Every part that runs our code runs this one with the settings and secrets of now, one after
    the other, while requests are answered; who does already goes on. WentBack when one does not get
    ready, after those before it run theirs again with the settings that are written in the folder.
    Secrets are as they lie there, then too."""
    done: list[tuple[Part, Path]] = []
    try:
        for part in shape.replaceable:
            before = part.state.running
            if not _runs(part, code):
                part.replace(code, shape.reload_door)
                earlier = code if before is None else Path(before.code)
                done.append((part, earlier))
                what = "with what it is given now" if earlier == code else "the new version"
                tell(f"{part.name} runs {what}")
        shape.reload_door(code)
    except NotReady as problem:
        _go_back(shape, done, tell, problem)
        raise WentBack(f"what ran before goes on, because {problem}") from problem


def _go_back(
    shape: Shape, done: Sequence[tuple[Part, Path]], tell: Tell, problem: NotReady
) -> None:
    written = plan.read(shape.written.folder)
    for each, earlier in reversed(done):
        part = Part(written, each.slot)
        if _runs(part, earlier):
            continue
        try:
            part.replace(earlier, shape.reload_door)
        except NotReady as another:
            raise WentBack(
                f"{problem}\nand the way back ends here, so that two versions run: {another}"
            ) from another
        tell(f"{part.name} runs as before again")


def _runs(part: Part, code: Path) -> bool:
    """Whether its process is of this code, and was given what it would be given now."""
    found = part.state.running
    if found is None or not found.is_alive:
        return False
    return (Path(found.code), found.given) == (code, roles.mark(part.plan, part.slot))

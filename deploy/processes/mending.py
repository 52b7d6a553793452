"""What is known of a part when its file is empty or torn, as a machine without power leaves it."""

from dataclasses import replace
from pathlib import Path

from deploy.processes import running
from deploy.processes.plan import Plan, Slot
from deploy.processes.running import Running, State


def seen(plan: Plan, slot: Slot) -> State:
    """Who runs in its folder. Nobody stops a part alone but who watches the others."""
    there = running.started_in(plan.own(slot.name), slot.ports)
    return State(bool(there) or slot not in plan.watching, *there[:2])


def is_torn(plan: Plan, slot: Slot) -> bool:
    """Whether its file is there and can't be read."""
    return not _is_readable(_file(plan, slot))


def mend(plan: Plan, slot: Slot, code: Path) -> bool:
    """Write its file anew if that can't be read; whether that was so. `code` is what it will be
    started from, where no process of it is there to tell."""
    file = _file(plan, slot)
    with running.locked(file.with_suffix(".lock"), is_patient=False) as is_alone:
        if not is_alone or _is_readable(file):
            return False
        found = seen(plan, slot)
        last = found.running or Running(0, "", slot.ports[0], "")
        if not last.code:
            last = replace(last, code=str(code))
        running.write(file, replace(found, running=last))
        return True


def _is_readable(file: Path) -> bool:
    try:
        running.read(file)
    except running.Unreadable:
        return False
    return True


def _file(plan: Plan, slot: Slot) -> Path:
    return plan.folder / "run" / f"{slot.name}.json"

"""Which of two versions answers a Task: decided by its id alone, so that it stays the same on every
worker and at every repeat."""

import hashlib

IN_USE, CANDIDATE = "A", "B"


def place(task: str, candidate: str) -> float:
    """Where a Task stands from 0 up to 100: the first eight bytes of SHA-256 of the candidate's
    key, a newline and the Task's id, as a share of 2 to the 64th. Evenly spread, and another for
    each candidate, so that comparisons are independent of one another."""
    digest = hashlib.sha256(f"{candidate}\n{task}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100


def arm(task: str, candidate: str, share: int) -> str:
    """B, the candidate, for `share` per cent of all Tasks, else A. A larger share takes Tasks from
    A and gives none back."""
    return CANDIDATE if place(task, candidate) < share else IN_USE

"""THE table of faults: what happens to a command on its way, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
_WRITES = frozenset({"insert", "update", "delete", "commitTransaction"})
_COMMIT = frozenset({"commitTransaction"})


@dataclass(frozen=True)
class Fault:
    """What is done to a command that `fits`: it is held back so many seconds; then it reaches
    the server, or not; then the connection is cut, or the answer is `answer` of the command
    and, when it reached the server, of the server's reply."""

    fits: Callable[[Document], bool]
    reaches: bool = True
    cuts: bool = False
    seconds: float = 0.0
    answer: Callable[[Document, Document], Document] | None = None


def _is_any(command: Document) -> bool:
    return next(iter(command), "") not in ("hello", "isMaster", "ismaster", "endSessions")


def _is_write(command: Document) -> bool:
    return next(iter(command), "") in _WRITES


def _is_commit(command: Document) -> bool:
    return next(iter(command), "") in _COMMIT


def _is_acknowledged(command: Document) -> bool:
    """A write whose answer tells of the write concern: in a transaction only its commit does."""
    return _is_write(command) and not _is_inside(command)


def _is_inside(command: Document) -> bool:
    """Part of a transaction, before its end."""
    return command.get("autocommit") is False and "Transaction" not in next(iter(command))


def _not_primary(command: Document, _: Document) -> Document:
    label = "TransientTransactionError" if _is_inside(command) else "RetryableWriteError"
    return _failure(10107, "NotWritablePrimary", label)


def _conflict(_: Document, __: Document) -> Document:
    return _failure(112, "WriteConflict", "TransientTransactionError")


def _unknown(_: Document, __: Document) -> Document:
    return _failure(50, "MaxTimeMSExpired", "UnknownTransactionCommitResult")


def _not_by_a_majority(command: Document, said: Document) -> Document:
    problem = {"code": 64, "codeName": "WriteConcernTimeout", "errmsg": "made by a fault"}
    labels = ["UnknownTransactionCommitResult"] if _is_commit(command) else []
    return {**said, "writeConcernError": problem, "errorLabels": labels}


def _failure(code: int, name: str, *labels: str) -> Document:
    return {
        "ok": 0.0,
        "code": code,
        "codeName": name,
        "errmsg": "made by a fault",
        "errorLabels": list(labels),
    }


FAULTS: Mapping[str, Fault] = {
    "cut before the server acts": Fault(_is_any, reaches=False, cuts=True),
    "cut after the server has acted": Fault(_is_any, cuts=True),
    "slow": Fault(_is_any, seconds=0.1),
    "not the primary any more": Fault(_is_write, reaches=False, answer=_not_primary),
    "a conflict in the transaction": Fault(_is_inside, reaches=False, answer=_conflict),
    "commit lost": Fault(_is_commit, reaches=False, answer=_unknown),
    "commit done, not known": Fault(_is_commit, answer=_unknown),
    "not acknowledged by a majority": Fault(_is_acknowledged, answer=_not_by_a_majority),
}

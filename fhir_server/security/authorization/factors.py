"""What is done with second factors, inside units: a step and a recovery code work once, whoever
else tries them at the same moment."""

from collections.abc import Iterable
from dataclasses import replace

from fhir_server.security.authorization.lockout import Source, count_attempt, forgive
from fhir_server.security.authorization.people import second_factor_name
from fhir_server.security.authorization.totp import (
    SecondFactor,
    factor_from,
    factor_record,
    new_factor,
    spend,
    with_recovery,
)
from fhir_server.storage.port import ResourceStore, Transaction

_ANYWHERE = Source("anywhere")
# Who tries codes knows the password already: no source is exempt, and none is another's.


async def confirmed_factor(store: ResourceStore, user: str) -> SecondFactor | None:
    """The user's second factor, if there is one that counts."""
    factor = factor_from(await store.record(SecondFactor.KIND, user))
    return factor if factor is not None and factor.is_confirmed else None


async def begin_factor(tx: Transaction, user: str) -> None:
    """A fresh secret to be confirmed, unless one waits already; one that counts is left alone."""
    if await tx.record(SecondFactor.KIND, user) is None:
        await tx.put_record(factor_record(user, new_factor()), 0)


async def use_factor(tx: Transaction, user: str, typed: str, now: float) -> int | None:
    """Use up a code or a recovery code: None when it was right, else the seconds to wait before
    the next is looked at (0: none)."""
    return await _try(tx, user, (typed, True), now)


async def confirm_factor(
    tx: Transaction, user: str, typed: str, now: float, codes: Iterable[str]
) -> int | None:
    """Make a factor count by its first right code, with these recovery codes; as `use_factor`."""
    wait = await _try(tx, user, (typed, False), now)
    if wait is None:
        record = await tx.record(SecondFactor.KIND, user)
        factor = factor_from(record)
        if record is None or factor is None:
            return 0
        confirmed = with_recovery(replace(factor, is_confirmed=True), codes)
        await tx.put_record(factor_record(user, confirmed), record.revision)
    return wait


async def _try(tx: Transaction, user: str, tried: tuple[str, bool], now: float) -> int | None:
    typed, is_confirmed = tried
    wait = await count_attempt(tx, second_factor_name(user), _ANYWHERE, now)
    if wait:
        return wait
    record = await tx.record(SecondFactor.KIND, user)
    factor = factor_from(record)
    if record is None or factor is None or factor.is_confirmed is not is_confirmed:
        return 0
    spent = spend(factor, typed, now)
    if spent is None:
        return 0
    await tx.put_record(factor_record(user, spent), record.revision)
    await forgive(tx, second_factor_name(user), _ANYWHERE)
    return None

"""Reservations: documents whose only purpose is that two transactions can't both touch one."""

import hashlib
from datetime import datetime

from pymongo import UpdateOne


def reservation(name: str, now: datetime) -> UpdateOne:
    """The write that makes every other transaction with the same name conflict. Names hold
    search criteria, so only their digest is kept."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return UpdateOne({"_id": digest}, {"$inc": {"count": 1}, "$set": {"at": now}}, upsert=True)

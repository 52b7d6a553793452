"""The audit trail as NDJSON for a verifier that trusts nothing but the public key.

First `{"key": …}`, then each block followed by its AuditEvents in sealed order, at the end the
signed head of the chain, so that a file cut short is noticed.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from fhir_server.audit.chain import Head, block_of, canonical
from fhir_server.audit.sealer import BLOCKS, block_id
from fhir_server.audit.signing import BlockSigner
from fhir_server.fhir.codec import instant
from fhir_server.storage.port import Key, ResourceStore, Stored

PAGE = 20


def head_content(head: Head, time: str) -> bytes:
    """What the signature of the last line covers."""
    return canonical({"hash": head.hash, "number": head.number, "time": time})


async def export(
    store: ResourceStore, signer: BlockSigner, clock: Callable[[], datetime], first: int = 1
) -> AsyncIterator[bytes]:
    """The lines of the export from block `first` on, each ending in a line break."""
    yield canonical({"key": signer.public_jwk}) + b"\n"
    head, after = Head(), block_id(first - 1)
    while records := await store.records(BLOCKS, after=after, limit=PAGE):
        for record in records:
            block = block_of(record.value)
            yield canonical({"block": record.value}) + b"\n"
            keys = [Key("AuditEvent", id_) for id_, _ in block.events]
            found = await store.get_many(keys)
            for stored in (found[key] for key in keys if _is_kept(found.get(key))):
                yield stored.body + b"\n"
            head, after = Head(block.number, block.hash), record.id
    time = instant(clock())
    signature = signer.sign(head_content(head, time))
    last = {"number": head.number, "hash": head.hash, "time": time, "signature": signature}
    yield canonical({"head": last}) + b"\n"


def _is_kept(stored: Stored | None) -> bool:
    return stored is not None and not stored.is_deleted

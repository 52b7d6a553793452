"""The connection to MongoDB and the collections of one tenant's database."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

Document = dict[str, Any]
Collection = AsyncCollection[Document]
Session = AsyncClientSession

SELECTION_MILLISECONDS = 5_000
SOCKET_MILLISECONDS = 65_000
"""Longer than a transaction may live, so that a slow answer is not taken for a lost one."""

LIMITS = {
    "serverSelectionTimeoutMS": SELECTION_MILLISECONDS,
    "connectTimeoutMS": SELECTION_MILLISECONDS,
    "socketTimeoutMS": SOCKET_MILLISECONDS,
}
"""Those of PyMongo's options that are ours, unless the URI says otherwise."""

MAJORITY = WriteConcern(w="majority", j=True, wtimeout=20_000)
NAMES = ("resources", "history", "bodies", "records", "journal", "reservations", "schema")


@dataclass(frozen=True, slots=True)
class Collections:
    """The collections of one tenant: current versions, all versions, bodies too long for a
    document, records, the audit journal, reservations, and what the layout is."""

    client: AsyncMongoClient[Document]
    resources: Collection
    history: Collection
    bodies: Collection
    records: Collection
    journal: Collection
    reservations: Collection
    schema: Collection

    def named(self, name: str) -> Collection:
        """The collection of that name, one of NAMES."""
        found: Collection = getattr(self, name)
        return found


def with_authorities(uri: str, ca_file: Path | None) -> str:
    """The URI that also says by whose word a server's certificate is believed; as it is where it
    does not ask for TLS, or names a file of its own."""
    start, _, query = uri.partition("?")
    options = {name.lower(): value.lower() for name, value in parse_qsl(query)}
    asked = options.get("tls", options.get("ssl"))
    uses_tls = asked == "true" or (asked is None and start.startswith("mongodb+srv:"))
    if ca_file is None or not uses_tls or "tlscafile" in options:
        return uri
    return f"{start}?{query}{'&' if query else ''}tlsCAFile={quote(str(ca_file), safe='')}"


def connect(uri: str) -> AsyncMongoClient[Document]:
    """A client for the URI; it connects with its first command.

    The URI may say more (credentials, TLS, hosts); limits are ours unless it sets them.
    """
    own = {name.lower() for name, _ in parse_qsl(uri.partition("?")[2])}
    ours: dict[str, Any] = {name: each for name, each in LIMITS.items() if name.lower() not in own}
    return AsyncMongoClient(uri, appname="medsage", tz_aware=True, **ours)


def collections(client: AsyncMongoClient[Document], database: str) -> Collections:
    """The tenant's collections: what is read was acknowledged by a majority, and what is
    written is in a majority's journals before it is acknowledged."""
    tenant: AsyncDatabase[Document] = client.get_database(
        database,
        codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=MAJORITY,
    )
    return Collections(client, *(tenant[name] for name in NAMES))

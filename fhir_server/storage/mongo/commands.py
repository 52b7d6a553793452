"""The documented subset: everything that this adapter sends, and the MongoDB version that
brought it ("2.6": that one or earlier).

Wire-compatible engines are more lenient than MongoDB in some places and poorer in others, so
the adapter keeps to this table. A test listens on the wire while the contract suite runs and
fails on what is not here; extend the table only with what MongoDB documents, and never beyond
FLOOR.
"""

from collections.abc import Mapping

FLOOR = "7.0"
"""The oldest MongoDB that is supported."""

EVERY_COMMAND: Mapping[str, str] = {
    "$db": "3.6",
    "lsid": "3.6",
    "$clusterTime": "3.6",
    "$readPreference": "3.6",
    "txnNumber": "3.6",
    "startTransaction": "4.0",
    "autocommit": "4.0",
    "readConcern.level": "3.2",
    "readConcern.afterClusterTime": "3.6",
    "writeConcern.w": "2.6",
    "writeConcern.j": "2.6",
    "writeConcern.wtimeout": "2.6",
    "maxTimeMS": "2.6",
}
"""Options that any command may carry; most are the driver's own."""

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "find": {
        "find": "3.2",
        "filter": "3.2",
        "projection": "3.2",
        "sort": "3.2",
        "limit": "3.2",
        "batchSize": "3.2",
        "singleBatch": "3.2",
    },
    "getMore": {"getMore": "3.2", "collection": "3.2", "batchSize": "3.2"},
    "killCursors": {"killCursors": "3.2", "cursors": "3.2"},
    "aggregate": {
        "aggregate": "2.6",
        "pipeline": "2.6",
        "cursor.batchSize": "2.6",
    },
    "explain": {
        "explain.find": "3.2",
        "explain.filter": "3.2",
        "explain.sort": "3.2",
        "explain.limit": "3.2",
        "verbosity": "3.2",
    },
    "insert": {"insert": "2.6", "documents": "2.6", "ordered": "2.6"},
    "update": {
        "update": "2.6",
        "ordered": "2.6",
        "updates.q": "2.6",
        "updates.u": "2.6",
        "updates.upsert": "2.6",
        "updates.multi": "2.6",
    },
    "delete": {
        "delete": "2.6",
        "ordered": "2.6",
        "deletes.q": "2.6",
        "deletes.limit": "2.6",
    },
    "commitTransaction": {"commitTransaction": "4.0", "recoveryToken": "4.2"},
    "abortTransaction": {"abortTransaction": "4.0", "recoveryToken": "4.2"},
    "endSessions": {"endSessions": "3.6"},
    "create": {"create": "2.6"},
    "createIndexes": {
        "createIndexes": "2.6",
        "indexes.key": "2.6",
        "indexes.name": "2.6",
        "indexes.expireAfterSeconds": "2.6",
    },
    "listCollections": {
        "listCollections": "3.0",
        "cursor.batchSize": "3.0",
        "nameOnly": "4.0",
    },
}
"""Command → its options; `a.b` is a field of the option `a` or of each document in its list."""

OPERATORS: Mapping[str, str] = {
    # filters
    "$and": "2.6",
    "$or": "2.6",
    "$nor": "2.6",
    "$in": "2.6",
    "$gt": "2.6",
    "$gte": "2.6",
    "$lt": "2.6",
    "$lte": "2.6",
    "$elemMatch": "2.6",
    "$regex": "2.6",
    "$options": "2.6",
    # updates
    "$inc": "2.6",
    "$unset": "2.6",
    "$set": "2.6",  # as a stage: 4.2
    # stages and their expressions
    "$match": "2.6",
    "$project": "2.6",
    "$unwind": "2.6",
    "$group": "2.6",
    "$sort": "2.6",
    "$limit": "2.6",
    "$sum": "2.6",
    "$ifNull": "2.6",
    "$changeStream": "3.6",
}

INDEX_KINDS: Mapping[int, str] = {1: "2.6", -1: "2.6"}
"""The value of an index key: ascending and descending, nothing else."""

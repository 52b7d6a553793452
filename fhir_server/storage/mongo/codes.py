"""MongoDB's error codes that mean something to us, and where an answer has them.

Their names and numbers: https://www.mongodb.com/docs/manual/reference/error-codes/
"""

from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

NO_SUCH_TRANSACTION = 251
CONFLICTS = frozenset(
    {
        24,  # LockTimeout
        112,  # WriteConflict
        225,  # TransactionTooOld
        246,  # SnapshotUnavailable
        NO_SUCH_TRANSACTION,
        16777220,  # a write conflict of engines that sit on another database
    }
)
AWAY = frozenset(
    {
        1,  # InternalError: among others, the engine below has given up
        18,  # AuthenticationFailed: our password is being changed, or was, and we are told later
        14031,  # OutOfDiskSpace
    }
)
"""The server failed, or does not let us in, whatever was asked."""


def codes_of(failure: PyMongoError) -> set[int]:
    """The codes that an answer gives as the reason; none for a connection that failed."""
    codes: set[int] = set()
    if isinstance(failure, BulkWriteError):
        errors = failure.details.get("writeErrors", ())
        codes |= {each["code"] for each in errors if "code" in each}
    if isinstance(failure, OperationFailure) and failure.code is not None:
        codes.add(failure.code)
    return codes

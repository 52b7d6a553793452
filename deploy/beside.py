"""Whether processes of the version that used the store last may go on beside those of this one:
`python -m deploy.beside` ends with 0 when they may, with 10 when they must stop before the store is
brought forward, with 2 when the store can't be asked, and says which. With anything else it was
not asked: 1 is what Python and Docker end with when they fail themselves."""

import asyncio
import os
import sys

from fhir_server.load_settings import UnusableSettings, load
from fhir_server.migrating import schema_state
from fhir_server.settings import Settings
from fhir_server.storage.schema import SchemaMismatch

MAY, MUST_STOP, UNKNOWN = 0, 10, 2


def verdict(found: int | None, oldest: int) -> int:
    """Of a store of the schema `found` (None: there is none), when `oldest` is the oldest schema
    whose programs may use it beside this version's."""
    return MAY if found is None or found >= oldest else MUST_STOP


async def asked(settings: Settings) -> int:
    """The verdict on the store of the settings. On the embedded store only one process is at
    work. Raises as `schema_state` does."""
    found = await schema_state(settings)
    if settings.mongodb_uri is None:
        return verdict(found.found, found.needed)
    from fhir_server.storage.mongo.migrations import OLDEST

    return verdict(found.found, OLDEST)


def main() -> int:
    """Look once; the exit status says how it is."""
    try:
        settings, _ = load(os.environ)
        found = asyncio.run(asked(settings))
    except (SchemaMismatch, UnusableSettings) as problem:
        print(problem, file=sys.stderr)
        return UNKNOWN
    except Exception as problem:  # a driver's text may quote the address with its password
        print(f"the store can't be asked ({type(problem).__name__})", file=sys.stderr)
        return UNKNOWN
    if found == MUST_STOP:
        print("the version that runs can't use the store once this one has brought it forward")
    return found


if __name__ == "__main__":
    sys.exit(main())

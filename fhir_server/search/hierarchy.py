"""Resources that are part of others of their type (R4 Search, "Searching Hierarchies")."""

from collections.abc import Mapping

PART_OF: Mapping[str, str] = {
    "CarePlan": "part-of",
    "Encounter": "part-of",
    "Location": "partof",
    "Organization": "partof",
    "Procedure": "part-of",
    "ResearchStudy": "partof",
    "Task": "part-of",
}
"""By type, the search parameter of its element `partOf`."""

"""`_list` (R4 Search, "_list"): what a List names in its entries, whatever their flags say."""

import re
from collections.abc import Iterable

from fhir_server.fhir.outcome import bad_parameter, unsupported
from fhir_server.fhir.reference import ID
from fhir_server.search import terms
from fhir_server.search.expression import Expression, HasTerm, LinkedFrom, any_of

_BARE_ID = re.compile(ID, re.ASCII)


def listed(name: str, values: Iterable[str]) -> Expression:
    """The resources that one of the Lists refers to. Who can't see a List finds nothing by it."""
    if name != "_list":
        raise bad_parameter(f"{name}: _list has no modifiers")
    tests: list[Expression] = []
    for value in values:
        if value.startswith("$"):
            raise unsupported(
                f"_list={value}: functional lists are not kept; name a List by its id"
            )
        id_ = value.removeprefix("List/")
        if _BARE_ID.fullmatch(id_) is None:
            raise bad_parameter(f"_list: {value!r} is not the id of a List")
        named = HasTerm(terms.key("List", "_id"), id_)
        tests.append(LinkedFrom("List", terms.key("List", "item"), named))
    return any_of(tests)

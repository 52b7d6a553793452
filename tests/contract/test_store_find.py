"""Search: every node, on both stores."""

import pytest

from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    AllOf,
    AnyOf,
    Expression,
    HasRange,
    HasTerm,
    HasText,
    Lacks,
    LinkedFrom,
    LinksTo,
    Not,
    Query,
    Terms,
    TermTest,
    Together,
    TupleOfTerms,
)
from fhir_server.storage.port import Draft, ResourceStore
from tests.stores import draft, put, version

CODE = "Observation.code"
SUBJECT = "Observation.subject"
PAIR = "Observation.pair"


async def found(store: ResourceStore, where: Expression, type_: str = "Observation") -> str:
    """The ids that match, joined; find and count must agree."""
    page = await store.find(Query(type_, where, limit=100))
    assert page.next is None
    assert await store.count(Query(type_, where)) == len(page.matches)
    return " ".join(each.key.id for each in page.matches)


def paired(id_: str, *pairs: tuple[str, str]) -> Draft:
    """An observation with tuples of (a, b), and the terms of each alone."""
    each = tuple(((f"{CODE}.a", one), (f"{CODE}.b", two)) for one, two in pairs)
    flat = tuple(member for pair in each for member in pair)
    tuples = tuple(TupleOfTerms(PAIR, pair) for pair in each)
    return Draft(version(f"Observation/{id_}"), Terms((("Observation._id", id_), *flat), tuples))


@pytest.fixture
async def ward(store: ResourceStore) -> ResourceStore:
    """Three patients and some observations of two of them."""
    await put(
        store,
        draft("Patient/p1", 1, ("name", "ann"), ("name", "anna")),
        draft("Patient/p2", 1, ("name", "bob")),
        draft("Patient/p3", 1, ("name", "ann")),
        draft("Observation/a", 1, ("code", "b\x1fs"), ("subject", "Patient/p1")),
        draft("Observation/b", 1, ("code", "b\x1ft"), ("code", "d\x1fs")),
        draft("Observation/c", 1, ("code", "B"), ("subject", "Patient/p2")),
        draft("Observation/d", 1, ("subject", "Patient/p1"), ("subject", "http://x/Patient/p3")),
        draft("Observation/e", 1, ("code", "\U0001f600x"), ("code", "ￜ")),
        draft("Observation/f", 1, ("code", "a.c(d\nx")),
    )
    return store


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (EVERYTHING, "a b c d e f"),
        (NOTHING, ""),
        (HasTerm(CODE, "b\x1fs"), "a"),
        (HasTerm(CODE, "b"), ""),
        (HasTerm(CODE + "x", "B"), ""),
        (HasTerm("Observation.never", "B"), ""),
        (HasRange(CODE, "b", "c"), "a b"),
        (HasRange(CODE, "b\x1ft", "d\x1fs"), "b"),
        (HasRange(CODE, "b\x1ft", None), "b e"),
        (HasRange(CODE, None, "C"), "c"),
        (HasRange(CODE, None, None), "a b c e f"),
        (HasRange(CODE, "z", "b"), ""),
        (HasRange(CODE, "ￜ", "￝"), "e"),
        (HasRange(CODE, "\uffff", None), "e"),
        (HasText(CODE, "s"), "a b"),
        (HasText(CODE, "\x1f"), "a b"),
        (HasText(CODE, "c(d\nx"), "f"),
        (HasText(CODE, "a.c"), "f"),
        (HasText(CODE, "abc"), ""),
        (HasText(CODE, "code"), ""),
        (HasText(CODE, ""), "a b c e f"),
        (HasText(CODE, "\x00"), ""),
        (Not(HasRange(CODE, None, None)), "d"),
        (Not(HasTerm(CODE, "d\x1fs")), "a c d e f"),
        (Not(Not(HasTerm(CODE, "B"))), "c"),
        (Not(EVERYTHING), ""),
        (Not(NOTHING), "a b c d e f"),
        (AllOf((HasRange(CODE, "b", "c"), HasRange(CODE, "d", "e"))), "b"),
        (AllOf((HasTerm(CODE, "B"), NOTHING)), ""),
        (AllOf((HasTerm(CODE, "B"), EVERYTHING)), "c"),
        (AnyOf((HasTerm(CODE, "B"), HasTerm(CODE, "b\x1fs"), HasText(CODE, "("))), "a c f"),
        (AnyOf((NOTHING, HasTerm(CODE, "B"))), "c"),
        (AllOf((Not(HasTerm(CODE, "B")), HasRange(SUBJECT, None, None))), "a d"),
    ],
)
async def test_each_node_finds_what_it_says(
    ward: ResourceStore, where: Expression, ids: str
) -> None:
    assert await found(ward, where) == ids


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (LinksTo(SUBJECT, "Patient", EVERYTHING), "a c d"),
        (LinksTo(SUBJECT, "Patient", HasRange("Patient.name", "ann", "ano")), "a d"),
        (LinksTo(SUBJECT, "Patient", HasTerm("Patient.name", "zoe")), ""),
        (LinksTo(SUBJECT, "Group", EVERYTHING), ""),
        (Not(LinksTo(SUBJECT, "Patient", HasTerm("Patient.name", "bob"))), "a b d e f"),
        (
            LinksTo(SUBJECT, "Patient", LinkedFrom("Observation", SUBJECT, HasTerm(CODE, "B"))),
            "c",
        ),
        (
            AnyOf((LinksTo(SUBJECT, "Patient", HasTerm("Patient.name", "bob")),
                   HasTerm("Observation._id", "f"))),
            "c f",
        ),
    ],
)  # fmt: skip
async def test_a_chain_finds_by_what_it_leads_to(
    ward: ResourceStore, where: Expression, ids: str
) -> None:
    assert await found(ward, where) == ids


@pytest.mark.parametrize(
    ("test", "ids"),
    [
        (EVERYTHING, "p1 p2"),
        (HasRange(CODE, "b", "c"), "p1"),
        (NOTHING, ""),
        (Not(HasRange(CODE, None, None)), "p1"),
        (LinksTo(SUBJECT, "Patient", HasTerm("Patient.name", "bob")), "p2"),
    ],
)
async def test_a_reverse_chain_finds_what_is_referred_to(
    ward: ResourceStore, test: Expression, ids: str
) -> None:
    assert await found(ward, LinkedFrom("Observation", SUBJECT, test), "Patient") == ids


@pytest.mark.parametrize("inner", [EVERYTHING, HasRange(SUBJECT, None, None)])
async def test_chains_neither_start_nor_end_at_deleted_resources(
    ward: ResourceStore, inner: Expression
) -> None:
    chain = LinksTo(SUBJECT, "Patient", LinkedFrom("Observation", SUBJECT, inner))
    assert await found(ward, chain) == "a c d"
    await put(ward, Draft(version("Patient/p1", 2, method="DELETE")))
    assert await found(ward, chain) == "c"
    assert await found(ward, LinksTo(SUBJECT, "Patient", EVERYTHING)) == "c"
    assert await found(ward, LinksTo(SUBJECT, "Patient", Not(NOTHING))) == "c"
    await put(ward, Draft(version("Observation/c", 2, method="DELETE")))
    assert await found(ward, LinkedFrom("Observation", SUBJECT, EVERYTHING), "Patient") == ""
    assert await found(ward, LinkedFrom("Observation", SUBJECT, Not(NOTHING)), "Patient") == ""


@pytest.mark.parametrize(
    ("tests", "ids"),
    [
        ((HasTerm(f"{CODE}.a", "1"), HasTerm(f"{CODE}.b", "2")), "x"),
        ((HasTerm(f"{CODE}.a", "1"), HasTerm(f"{CODE}.b", "4")), "y"),
        ((HasTerm(f"{CODE}.a", "1"),), "x y"),
        ((HasRange(f"{CODE}.b", "2", "4"), HasText(f"{CODE}.a", "1")), "x"),
        ((HasTerm(f"{CODE}.a", "2"),), ""),
        ((HasTerm(f"{CODE}.a", "1"), Lacks(HasTerm(f"{CODE}.b", "2"))), "y"),
        ((Lacks(HasRange(f"{CODE}.b", "2", "3")),), "x y"),
        ((Lacks(HasTerm(f"{CODE}.a", "1")), Lacks(HasTerm(f"{CODE}.a", "3"))), ""),
        ((), "x y"),
    ],
)
async def test_what_belongs_together_is_of_one_element(
    store: ResourceStore, tests: tuple[TermTest | Lacks, ...], ids: str
) -> None:
    await put(store, paired("x", ("1", "2"), ("3", "4")), paired("y", ("1", "4"), ("3", "2")))
    await put(store, draft("Observation/z", 1, ("code.a", "1"), ("code.b", "2")))
    assert await found(store, Together(PAIR, tests)) == ids
    assert await found(store, Together(PAIR + "x", tests)) == ""


async def test_an_update_is_found_by_its_new_terms_alone(store: ResourceStore) -> None:
    await put(store, draft("Observation/a", 1, ("code", "x"), ("code", "y")))
    await put(store, draft("Observation/a", 2, ("code", "y"), ("code", "z")))
    assert await found(store, HasTerm(CODE, "x")) == ""
    assert await found(store, HasTerm(CODE, "y")) == "a"
    assert await found(store, HasTerm(CODE, "z")) == "a"


async def test_the_same_term_twice_is_one(store: ResourceStore) -> None:
    await put(store, draft("Observation/a", 1, ("code", "x"), ("code", "x")))
    assert await found(store, HasTerm(CODE, "x")) == "a"


async def test_a_long_term_is_found(store: ResourceStore) -> None:
    value = "東" * 1000 + "\x1f" + "a" * 64
    await put(store, draft("Observation/a", 1, ("code", value)))
    assert await found(store, HasTerm(CODE, value)) == "a"
    assert await found(store, HasRange(CODE, value[:999], None)) == "a"


@pytest.mark.parametrize("kind", ["term", "range", "text", "link"])
async def test_a_thousand_alternatives_are_one_question(ward: ResourceStore, kind: str) -> None:
    makers = {
        "term": lambda text: HasTerm(CODE, text),
        "range": lambda text: HasRange(CODE, text, text + "\x00"),
        "text": lambda text: HasText(CODE, text),
        "link": lambda text: LinksTo(SUBJECT, "Patient", HasTerm("Patient.name", text)),
    }
    names = [*(f"none{number}" for number in range(999)), {"link": "bob"}.get(kind, "B")]
    size = 50 if kind == "link" else 1000
    alternatives = AnyOf(tuple(makers[kind](name) for name in names[-size:]))
    assert await found(ward, alternatives) == "c"
    assert await found(ward, AllOf((HasTerm(CODE, "B"), alternatives))) == "c"
    assert await found(ward, Not(alternatives)) == "a b d e f"
    if kind == "term":
        assert (
            await found(ward, LinkedFrom("Observation", SUBJECT, alternatives), "Patient") == "p2"
        )

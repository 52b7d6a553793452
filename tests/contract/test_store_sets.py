"""Search nodes for sets of codes, distances and canonicals, on both stores."""

import pytest

from fhir_server.search.expression import (
    EVERYTHING,
    AllOf,
    AnyOf,
    Expression,
    HasAnyTerm,
    HasRange,
    HasTerm,
    Not,
    Query,
    Shares,
    Within,
)
from fhir_server.search.positions import cells, position
from fhir_server.storage.port import ResourceStore
from tests.stores import draft, put

CODE = "Observation.code"
NEAR = "Location.near"
QUESTIONNAIRE, NAMED = "QuestionnaireResponse.questionnaire", "Questionnaire.canonical"


async def found(store: ResourceStore, where: Expression, type_: str) -> str:
    page = await store.find(Query(type_, where, limit=100))
    assert await store.count(Query(type_, where)) == len(page.matches)
    return " ".join(each.key.id for each in page.matches)


@pytest.fixture
async def ward(store: ResourceStore) -> ResourceStore:
    await put(
        store,
        draft("Observation/a", 1, ("code", "1\x1fs"), ("code", "2\x1fs")),
        draft("Observation/b", 1, ("code", "2\x1ft")),
        draft("Observation/c", 1, ("category", "1\x1fs")),
        draft("Location/oslo", 1, ("near", position(59.91, 10.75))),
        draft("Location/bergen", 1, ("near", position(60.39, 5.32))),
        draft("Location/fiji", 1, ("near", position(-17.0, 180.0))),
        draft("Location/samoa", 1, ("near", position(-17.0, -179.9))),
        draft("Location/pole", 1, ("near", position(90.0, 0.0))),
        draft("Location/nowhere", 1, ("name", "x")),
        draft("Questionnaire/q1", 1, ("canonical", "u\x1f"), ("canonical", "u\x1f1")),
        draft("Questionnaire/q2", 1, ("canonical", "u\x1f"), ("canonical", "u\x1f2")),
        draft("Questionnaire/q3", 1, ("canonical", "v\x1f")),
        draft("QuestionnaireResponse/any", 1, ("questionnaire", "u\x1f")),
        draft("QuestionnaireResponse/first", 1, ("questionnaire", "u\x1f1")),
        draft("QuestionnaireResponse/third", 1, ("questionnaire", "u\x1f3")),
    )
    return store


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (HasAnyTerm(CODE, frozenset()), ""),
        (HasAnyTerm(CODE, frozenset({"1\x1fs"})), "a"),
        (HasAnyTerm(CODE, frozenset({"1\x1fs", "2\x1ft"})), "a b"),
        (HasAnyTerm(CODE, frozenset({"1", "2", "1\x1ft"})), ""),
        (HasAnyTerm(CODE, frozenset(f"{n}\x1ft" for n in range(5000))), "b"),
        (Not(HasAnyTerm(CODE, frozenset({"2\x1ft", "3\x1ft"}))), "a c"),
        (AnyOf((HasAnyTerm(CODE, frozenset({"2\x1ft"})), HasTerm(CODE, "1\x1fs"))), "a b"),
        (AllOf((HasAnyTerm(CODE, frozenset({"2\x1fs"})), HasRange(CODE, "1", "2"))), "a"),
    ],
)
async def test_a_set_of_terms(ward: ResourceStore, where: Expression, ids: str) -> None:
    assert await found(ward, where, "Observation") == ids


@pytest.mark.parametrize(
    ("latitude", "longitude", "kilometres", "ids"),
    [
        (59.91, 10.75, 0, "oslo"),
        (59.9, 10.7, 1, ""),
        (59.9, 10.7, 4, "oslo"),
        (60.0, 8.0, 170, "bergen oslo"),
        (60.2, 6.0, 60, "bergen"),
        (-17.0, 179.95, 6, "fiji"),
        (-17.0, -179.95, 6, "fiji samoa"),
        (-17.0, 180.0, 12, "fiji samoa"),
        (-17.0, -180.0, 12, "fiji samoa"),
        (89.9, 170.0, 12, "pole"),
        (-90.0, 0.0, 12, ""),
        (0.0, 0.0, 20_100, "bergen fiji oslo pole samoa"),
    ],
)
async def test_positions_within_a_distance(
    ward: ResourceStore, latitude: float, longitude: float, kilometres: float, ids: str
) -> None:
    metres = 1000.0 * kilometres
    within = Within(NEAR, cells(latitude, longitude, metres), latitude, longitude, metres)
    assert await found(ward, within, "Location") == ids
    outside = await found(ward, Not(within), "Location")
    assert sorted((*ids.split(), *outside.split())) == sorted(
        ("oslo", "bergen", "fiji", "samoa", "pole", "nowhere")
    )


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (Shares(QUESTIONNAIRE, "Questionnaire", NAMED, EVERYTHING), "any first"),
        (Shares(QUESTIONNAIRE, "Questionnaire", NAMED, HasTerm("Questionnaire._id", "q2")), "any"),
        (Shares(QUESTIONNAIRE, "Questionnaire", NAMED, HasTerm("Questionnaire._id", "q3")), ""),
        (Shares(QUESTIONNAIRE, "Library", NAMED, EVERYTHING), ""),
        (Not(Shares(QUESTIONNAIRE, "Questionnaire", NAMED, EVERYTHING)), "third"),
        (
            AnyOf((Shares(QUESTIONNAIRE, "Questionnaire", NAMED, Not(HasTerm(CODE, "x"))),)),
            "any first",
        ),
    ],
)
async def test_what_one_names_the_other_is_called(
    ward: ResourceStore, where: Expression, ids: str
) -> None:
    assert await found(ward, where, "QuestionnaireResponse") == ids


async def test_a_shared_name_is_followed_either_way(ward: ResourceStore) -> None:
    answered = Shares(NAMED, "QuestionnaireResponse", QUESTIONNAIRE, EVERYTHING)
    assert await found(ward, answered, "Questionnaire") == "q1 q2"
    one = HasTerm("QuestionnaireResponse._id", "first")
    only = Shares(NAMED, "QuestionnaireResponse", QUESTIONNAIRE, one)
    assert await found(ward, only, "Questionnaire") == "q1"
    deep = Shares(QUESTIONNAIRE, "Questionnaire", NAMED, only)
    assert await found(ward, deep, "QuestionnaireResponse") == "any first"

"""Search parameters of one's own (R4 SearchParameter), on both stores."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.codec import encode
from fhir_server.indexing.state import LAST_SECONDS
from fhir_server.search.canonical import canonical_key
from fhir_server.search.custom import RESERVED
from fhir_server.search.terms import has_key
from fhir_server.security.guard_terms import SECURITY_CONTEXT, guard_key
from fhir_server.storage.port import VersionConflict
from tests.custom_world import Defining, defining_world, found, parameter
from tests.fhir_world import Json, fhir_world, issues, observation, text_of
from tests.operation_world import caller, post, transaction
from tests.stores import Place, place

__all__ = ["place"]


@pytest.fixture
async def own(place: Place, tmp_path: Path) -> AsyncIterator[Defining]:
    async with defining_world(tmp_path, await place.store()) as running:
        yield running


def patient(id: str, *nicknames: str, **changes: Any) -> Json:
    names = [{"use": "nickname", "given": list(nicknames)}] if nicknames else [{"given": ["Zed"]}]
    return {"resourceType": "Patient", "id": id, "name": names} | changes


async def fill(own: Defining, *resources: Json) -> None:
    for each in resources:
        answer = await own.world.put(f"/{each['resourceType']}/{each['id']}", each)
        assert answer.status_code in (200, 201), answer.text


async def claimed(own: Defining, type: str = "Patient") -> set[str]:
    statement = (await own.world.get("/metadata")).json()
    of_type = next(each for each in statement["rest"][0]["resource"] if each["type"] == type)
    return {each["name"] for each in of_type["searchParam"]}


async def test_until_the_index_is_whole_a_search_is_refused_with_the_progress(
    own: Defining,
) -> None:
    await fill(own, *(patient(f"p{number:03}", f"Nick{number}") for number in range(150)))
    id_ = await own.define()
    for url in (
        "/Patient?nickname=nick1",
        "/Patient?_sort=nickname",
        "/Patient?nickname:missing=true",
        "/Observation?subject:Patient.nickname=nick1",
        "/Practitioner?_has:Patient:general-practitioner:nickname=nick1",
        "/?_type=Patient&nickname=nick1",
    ):
        refusal = await own.world.get(url)
        assert refusal.status_code == 503, (url, refusal.text)
        assert refusal.headers["Retry-After"] == "5"
        assert issues(refusal)[0]["code"] == "transient"
        assert "nickname of Patient is being indexed, 0 % done" in text_of(refusal)
    for url in ("/Patient?nickname=nick1", "/?_type=Patient&nickname=nick1"):
        lenient = await own.world.get(url, prefer="handling=lenient")
        assert lenient.status_code == 503
    assert "nickname" not in await claimed(own)
    assert (await own.world.get(f"/SearchParameter/{id_}")).status_code == 200
    assert await own.ids("/SearchParameter?code=nickname") == {id_}
    assert await own.ids("/Patient?_id=p001") == {"p001"}
    own.later(10)
    assert await own.process.batch()
    assert ", 66 % done" in text_of(await own.world.get("/Patient?nickname=nick1"))
    await own.process.index()
    assert await own.ids("/Patient?nickname=nick149") == {"p149"}
    assert "nickname" in await claimed(own)


async def test_writes_by_criteria_wait_for_the_index_too(own: Defining) -> None:
    await own.define()
    headers = {"if_none_exist": "nickname=bo"}
    assert (await own.world.post("/Patient", patient("x"), **headers)).status_code == 503
    assert (await own.world.delete("/Patient?nickname=bo")).status_code == 503
    entry = post({"resourceType": "Patient"}, ifNoneExist="nickname=bo")
    refused = await own.world.post("/", transaction(entry))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5"), refused.text
    search = {"request": {"method": "GET", "url": "Patient?nickname=bo"}}
    refused = await own.world.post("/", transaction(post(patient("y")), search))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5"), refused.text
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [search]}
    entry = (await own.world.post("/", batch)).json()["entry"][0]
    assert entry["response"]["status"].startswith("503")
    await own.index()
    assert (await own.world.post("/Patient", patient("x"), **headers)).status_code == 201


async def test_scopes_that_name_it_wait_for_the_index(own: Defining) -> None:
    await fill(own, patient("bo", "Bo"), patient("al", "Al"))
    await own.define()
    for scopes in ("user/Patient.rs?nickname=bo", "user/*.rs?nickname=bo"):
        own.world.caller.principal = caller(scopes)
        assert (await own.world.get("/Patient")).status_code == 503
    own.world.caller.principal = None
    await own.index()
    own.world.caller.principal = caller("user/Patient.rs?nickname=bo")
    assert await own.ids("/Patient") == {"bo"}
    assert (await own.world.get("/Patient/al")).status_code == 404


async def test_a_string_is_found_by_its_beginning(own: Defining) -> None:
    await fill(own, patient("bo", "Boří"), patient("rob", "Robo"), patient("none"))
    await own.define()
    await own.index()
    assert await own.ids("/Patient?nickname=bori") == {"bo"}
    assert await own.ids("/Patient?nickname:contains=bo") == {"bo", "rob"}
    assert await own.ids("/Patient?nickname:exact=Bori") == set()


async def test_missing_and_order_go_by_it(own: Defining) -> None:
    await fill(own, patient("a", "Cy"), patient("b", "Al"), patient("c"), patient("d", "Bo"))
    await own.define(code="nick-name_2")
    await own.index()
    assert await own.ids("/Patient?nick-name_2:missing=true") == {"c"}
    assert await own.ids("/Patient?nick-name_2:missing=false") == {"a", "b", "d"}
    for sort, order in (("nick-name_2", "bdac"), ("-nick-name_2", "adbc")):
        page = (await own.world.get(f"/Patient?_sort={sort}&_count=3")).json()
        following = next(each["url"] for each in page["link"] if each["relation"] == "next")
        rest = (await own.world.http.get(following)).json()
        entries = [*page["entry"], *rest["entry"]]
        assert "".join(each["resource"]["id"] for each in entries) == order


async def test_a_token_a_date_and_a_quantity_are_found(own: Defining) -> None:
    url = "http://example.org/fhir/ward"
    extension: Json = {"url": url, "valueCoding": {"system": "http://wards", "code": "W1"}}
    await fill(
        own,
        patient("in", extension=[extension], birthDate="1970-05-01"),
        patient("out", extension=[extension | {"valueCoding": {"code": "W2"}}]),
    )
    weight = {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    parts = [
        {"code": {"text": "t"}, "valueQuantity": weight | {"value": value}} for value in (5, 70)
    ]
    await fill(own, observation(id="o", component=parts), observation(id="p", component=parts[:1]))
    await own.define(code="ward", type="token", expression=f"Patient.extension('{url}').value")
    await own.define(code="born", type="date", expression="Patient.birthDate")
    quantity = "Observation.component.value as Quantity"
    await own.define(code="part", type="quantity", base=["Observation"], expression=f"({quantity})")
    await own.index()
    assert await own.ids("/Patient?ward=W1") == {"in"}
    assert await own.ids("/Patient?ward=http://wards|W2") == set()
    assert await own.ids("/Patient?born=1970-05") == {"in"}
    assert await own.ids("/Patient?born=lt1970-05") == set()
    assert await own.ids("/Observation?part=gt69.9||kg") == {"o"}
    assert await own.ids("/Observation?part=lt6") == {"o", "p"}


async def test_a_reference_is_included_and_chained_over(own: Defining) -> None:
    await fill(own, patient("bo", "Bo"), patient("al", "Al"))
    for id_, name in (("o", "bo"), ("p", "al")):
        await fill(own, observation(id=id_, focus=[{"reference": f"Patient/{name}"}]))
    changes: Json = {"base": ["Observation"], "expression": "Observation.focus"}
    await own.define(code="about", type="reference", target=["Patient"], **changes)
    assert (await own.world.get("/Observation?_include=Observation:about")).status_code == 503
    assert (await own.world.get("/Observation?_include=*")).status_code == 503
    assert (await own.world.get("/Patient?_revinclude=Observation:about")).status_code == 503
    await own.define()
    await own.index()
    assert await own.ids("/Observation?about=Patient/bo") == {"o"}
    assert await own.ids("/Observation?about.nickname=bo&_include=Observation:about") == {"o", "bo"}
    assert await own.ids("/Patient?_id=al&_revinclude=Observation:about") == {"p", "al"}
    assert await own.ids("/Patient?_has:Observation:about:_id=p") == {"al"}


async def test_a_composite_needs_both_parts_in_one_element(own: Defining) -> None:
    def parts(*pairs: tuple[str, str]) -> list[Json]:
        return [
            {"code": {"coding": [{"code": code}]}, "valueString": value} for code, value in pairs
        ]

    await fill(own, observation(id="yes", component=parts(("c", "high"), ("d", "low"))))
    await fill(own, observation(id="no", component=parts(("c", "low"), ("d", "high"))))
    of: Json = {"base": ["Observation"]}
    text = "(Observation.component.value as string)"
    await own.define(code="part-text", expression=text, **of)
    core = "http://hl7.org/fhir/SearchParameter/Observation-component-code"
    component = [
        {"definition": core, "expression": "code"},
        {"definition": parameter(code="part-text")["url"], "expression": "value"},
    ]
    shape = {"type": "composite", "expression": "Observation.component", "component": component}
    await own.define(code="part-says", **of, **shape)
    await own.index()
    assert await own.ids("/Observation?part-says=c$high") == {"yes"}
    assert await own.ids("/Observation?part-says=c$low") == {"no"}


async def test_what_is_written_while_it_is_indexed_is_found(own: Defining) -> None:
    await fill(own, *(patient(f"p{number:03}", "Old") for number in range(120)))
    await own.define()
    own.later(10)
    assert await own.process.batch()
    await fill(own, patient("a-new", "New"), patient("p001", "Changed"), patient("p110", "Changed"))
    await own.world.delete("/Patient/p002")
    await own.process.index()
    assert await own.ids("/Patient?nickname=new") == {"a-new"}
    assert await own.ids("/Patient?nickname=changed") == {"p001", "p110"}
    total = (await own.world.get("/Patient?nickname=old&_summary=count")).json()["total"]
    assert total == 117


async def test_what_a_process_that_knew_nothing_yet_wrote_is_found_at_the_last_look(
    own: Defining, tmp_path: Path
) -> None:
    late = await own.another()
    await own.define()
    await own.index()
    parts: Json = {"search": late.live, "definitions": late.definitions}
    async with fhir_world(tmp_path, store=own.world.store, **parts) as of_late:
        assert (await of_late.put("/Patient/l", patient("l", "Late"))).status_code == 201
    assert await own.ids("/Patient?nickname=late") == set()
    own.later(LAST_SECONDS)
    await own.process.index()
    assert await own.ids("/Patient?nickname=late") == {"l"}


async def test_a_changed_expression_is_indexed_anew_and_back_again(own: Defining) -> None:
    await fill(own, patient("a", "Bo"), {**patient("b"), "name": [{"family": "Bo"}]})
    id_ = await own.define()
    await own.index_to_the_last()
    assert await own.ids("/Patient?nickname=bo") == {"a"}
    first = parameter(id=id_)
    for changed, expected in ((first | {"expression": "Patient.name.family"}, "b"), (first, "a")):
        await fill(own, changed)
        assert (await own.world.get("/Patient?nickname=bo")).status_code == 503
        await own.index()
        assert await own.ids("/Patient?nickname=bo") == {expected}
    await fill(own, first | {"description": "The same in other words"})
    assert await own.ids("/Patient?nickname=bo") == {"a"}


@pytest.mark.parametrize("way", ["retired", "patched", "deleted", "batch"])
async def test_one_that_is_retired_or_deleted_is_unknown_from_then_on(
    own: Defining, way: str
) -> None:
    id_ = await own.define()
    await own.index()
    match way:
        case "retired":
            await fill(own, parameter(id=id_, status="retired"))
        case "patched":
            patch = b'[{"op": "replace", "path": "/status", "value": "retired"}]'
            changes = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
            changes |= {"data": b64encode(patch).decode()}
            request = {"method": "PATCH", "url": f"SearchParameter/{id_}"}
            bundle = transaction({"resource": changes, "request": request})
            assert (await own.world.post("/", bundle)).status_code == 200
        case "deleted":
            assert (await own.world.delete(f"/SearchParameter/{id_}")).status_code == 204
        case "batch":
            request = {"method": "DELETE", "url": f"SearchParameter/{id_}"}
            bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": request}]}
            assert (await own.world.post("/", bundle)).status_code == 200
    refusal = await own.world.get("/Patient?nickname=bo")
    assert refusal.status_code == 400
    assert "'nickname' is not a search parameter of Patient" in text_of(refusal)
    assert "nickname" not in await claimed(own)


async def test_a_transaction_brings_several_that_need_each_other(own: Defining) -> None:
    both = [post(parameter()), post(parameter(code="called"))]
    assert (await own.world.post("/", transaction(*both))).status_code == 200
    await own.index()
    for code in ("nickname", "called"):
        assert await own.ids(f"/Patient?{code}=x") == set()
    clash = parameter(url="http://example.org/other")
    refused = await own.world.post("/", transaction(post(patient("x")), post(clash)))
    assert refused.status_code == 422
    assert await own.world.count("Patient") == 0


REFUSED: list[tuple[Json, str, str]] = [
    ({"code": "family"}, "code", "has a parameter family already"),
    ({"code": "_count"}, "code", "'_count' cannot be the code"),
    ({"code": "has"}, "code", "'has' cannot be the code"),
    ({"code": "a:b"}, "code", "'a:b' cannot be the code"),
    ({"expression": "Patient.name.first()"}, "expression", "first()"),
    ({"expression": "Patient.name.given" + " " * 1900 + "'"}, "expression", "a character"),
    ({"expression": "(" * 999 + "Patient.name" + ")" * 980}, "expression", "too deeply"),
    ({"expression": " | ".join(["Patient.name.given"] * 100)}, "expression", "longer than 2000"),
    ({"expression": "Patient.nothing"}, "expression", "leads to no element"),
    ({"expression": "Patient.name", "type": "date"}, "expression", "that a date can index"),
    ({"base": ["Parameters"]}, "base", "Parameters: no type of R4 that can be added to"),
    ({"type": "special"}, "type", "special cannot be added"),
    ({"url": "http://hl7.org/fhir/SearchParameter/Patient-active"}, "url", "cannot be changed"),
]


@pytest.mark.parametrize(("change", "place_in_it", "text"), REFUSED)
async def test_an_active_one_that_cannot_take_effect_is_refused(
    own: Defining, change: Json, place_in_it: str, text: str
) -> None:
    refusal = await own.world.post("/SearchParameter", parameter(**change))
    assert refusal.status_code == 422, refusal.text
    assert text in text_of(refusal)
    assert issues(refusal)[0]["expression"] == [f"SearchParameter.{place_in_it}"]
    assert await own.world.count("SearchParameter") == 0
    draft = await own.world.post("/SearchParameter", parameter(**change, status="draft"))
    assert draft.status_code == 201


async def test_an_unknown_base_is_refused_by_name(own: Defining) -> None:
    refusal = await own.world.post("/SearchParameter", parameter(base=["Patients"]))
    assert refusal.status_code in (400, 422)
    assert "Patients" in text_of(refusal)


async def test_the_second_with_a_code_or_url_is_refused(own: Defining) -> None:
    await own.define()
    other = parameter(url="http://example.org/other")
    assert "has a parameter nickname" in text_of(await own.world.post("/SearchParameter", other))
    again = await own.world.post("/SearchParameter", parameter(code="another", url=other["url"]))
    assert again.status_code == 201
    same = parameter(code="third", url=other["url"])
    assert "another active SearchParameter has this url" in text_of(
        await own.world.post("/SearchParameter", same)
    )


async def test_of_two_at_once_with_one_code_one_is_refused(own: Defining) -> None:
    urls = [f"http://example.org/{number}" for number in range(4)]
    answers = await asyncio.gather(
        *(own.world.post("/SearchParameter", parameter(url=url)) for url in urls)
    )
    assert sorted(each.status_code for each in answers) == [201, 422, 422, 422]


async def test_what_a_composite_is_made_of_stays(own: Defining) -> None:
    part = await own.define(code="given-at-home")
    url = parameter(code="given-at-home")["url"]
    component = [{"definition": url, "expression": "given"}] * 2
    shape = {"type": "composite", "expression": "Patient.name", "component": component}
    await own.define(code="twice", **shape)
    refusal = await own.world.delete(f"/SearchParameter/{part}")
    assert refusal.status_code == 422
    assert "would stop" in text_of(refusal)


async def test_after_a_crash_indexing_goes_on_where_it_was(own: Defining) -> None:
    await fill(own, *(patient(f"p{number:03}", f"Nick{number}") for number in range(250)))
    await own.define()
    own.later(10)
    assert await own.process.batch()
    assert await own.process.batch()
    again = await own.another()
    await again.definitions.notice()
    assert again.live.progress.percent == 79
    assert await again.batch()
    assert again.live.progress.percent == 99
    await again.index()
    await own.process.definitions.notice()
    assert await own.ids("/Patient?nickname=nick7") >= {"p007"}


async def test_of_two_that_index_at_once_each_batch_is_done_once(own: Defining) -> None:
    await fill(own, *(patient(f"p{number:03}", "Nick") for number in range(250)))
    await own.define()
    other = await own.another()
    own.later(10)
    steps = [0, 0]

    async def work(index: int) -> None:
        process = (own.process, other)[index]
        while True:
            try:
                if not await process.reindexer.step():
                    return
                steps[index] += 1
            except VersionConflict:
                await asyncio.sleep(0)

    await asyncio.gather(work(0), work(1))
    # Three batches, the change of stage, one batch of what is as young, and the end.
    assert sum(steps) == 8
    await own.process.definitions.notice()
    total = (await own.world.get("/Patient?nickname=nick&_summary=count")).json()["total"]
    assert total == 250


async def test_a_start_with_other_definitions_indexes_by_itself(
    own: Defining, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(own, patient("a", "Bo"))
    assert await own.ids("/Patient?given=bo") == {"a"}
    monkeypatch.setattr("fhir_server.search.fingerprint.ENCODING", 99)
    upgraded = await own.another()
    own.process.live.known = upgraded.live.known
    assert (await own.world.get("/Patient?given=bo")).status_code == 503
    assert (await own.world.get("/Patient/a/Observation")).status_code == 503
    assert (await own.world.get("/Patient/a")).status_code == 200
    own.later(10)
    await upgraded.index()
    own.process.live.known = upgraded.live.known
    assert await own.ids("/Patient?given=bo") == {"a"}


async def test_other_terms_of_the_guard_are_indexed_while_all_searches_go_on(
    own: Defining, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(own, patient("a", "Bo"))
    monkeypatch.setattr("fhir_server.search.fingerprint.GUARD_ENCODING", 99)
    upgraded = await own.another()
    own.process.live.known = upgraded.live.known
    assert await own.ids("/Patient?given=bo") == {"a"}
    assert (await own.world.get("/Patient/a/Observation")).status_code == 200
    assert not (await upgraded.definitions.status()).is_whole
    own.later(10)
    await upgraded.index()
    assert (await upgraded.definitions.status()).is_whole


async def test_the_body_is_kept_as_it_was_sent(own: Defining) -> None:
    sent = parameter(xpathUsage="normal")
    made = await own.world.post("/SearchParameter", encode(sent))
    assert made.json().items() >= sent.items()
    assert found(await own.world.get("/SearchParameter?base=Patient")) == {made.json()["id"]}


async def told(own: Defining, method: str, code: str) -> dict[str, Any]:
    answer = await own.world.http.request(method, f"/${code}")
    assert answer.status_code == 200, answer.text
    parts = answer.json()["parameter"]
    return {part["name"]: part.get("valueCode", part.get("valueInteger")) for part in parts}


async def test_an_administrator_has_everything_indexed_anew_and_asks_how_far_it_is(
    own: Defining,
) -> None:
    await fill(own, *(patient(f"p{number:03}", "Nick") for number in range(150)))
    await own.define()
    await own.index()
    own.world.caller.principal = caller("user/*.cruds", role="admin")
    assert await told(own, "GET", "reindex-status") == {"status": "whole", "percent": 100}
    begun = await told(own, "POST", "reindex")
    assert (begun["status"], begun["percent"]) == ("indexing", 0)
    assert (await own.world.journal())[-1]["interaction"] == "operation"
    own.later(10)
    assert await own.process.batch()
    assert (await told(own, "GET", "reindex-status"))["percent"] == 66
    refusal = await own.world.get("/SearchParameter?code=nickname")
    assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "5")
    await own.process.index()
    assert await told(own, "GET", "reindex-status") == {"status": "whole", "percent": 100}


@pytest.mark.parametrize("role", ["doctor", "auditor", "service"])
async def test_nobody_else_touches_the_index(own: Defining, role: str) -> None:
    own.world.caller.principal = caller("user/*.cruds", role=role)
    for method, code in (("POST", "reindex"), ("GET", "reindex-status")):
        assert (await own.world.http.request(method, f"/${code}")).status_code == 403
    own.world.caller.principal = caller("user/*.rs", role="admin")
    assert (await own.world.http.request("POST", "/$reindex")).status_code == 403


async def test_what_the_server_states_itself_no_definition_can_name() -> None:
    stated = {guard_key("Device"), SECURITY_CONTEXT, has_key("Device"), canonical_key("Device")}
    assert {each.partition(".")[2] for each in stated} <= RESERVED

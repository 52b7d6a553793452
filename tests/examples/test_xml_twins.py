"""The 875 official XML examples: read, written again, held against their 873 JSON twins and against
the XML schemas of R4."""

import io
import lzma
import random
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from fhir_server.fhir.codec import parse
from fhir_server.fhir.outcome import FhirError
from fhir_server.fhir.xml import json_of, pretty_xml, xml_of
from fhir_server.validation.validate import Validator

FOLDER = Path(__file__).parents[2].parent / "shared/conformance"
# Their twins are collections that were converted by another program, which laid out narratives
# anew and rounded a decimal to what a double holds.
OTHER_LAYOUT = {"conceptmaps", "external-resources"}
ROUNDED = {"observation-example-body-height"}
WITHOUT_TWIN = {"conformance-ehrs-rle", "operation-structuredefinition-questionnaire"}

pytestmark = pytest.mark.shared

# Decimals as their text, so that 1.50 is not 1.5.
_decoder = msgspec.json.Decoder(float_hook=str)


def _archive(name: str) -> dict[str, bytes]:
    path = FOLDER / f"{name}.tar.xz"
    if not path.exists():
        pytest.skip(f"not run: {name} is not at {path}")
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes()))) as archive:
        contents = ((Path(each.name), archive.extractfile(each)) for each in archive)
        return {path.name: content.read() for path, content in contents if content is not None}


@pytest.fixture(scope="module")
def xml() -> dict[str, bytes]:
    return {name.removesuffix(".xml"): body for name, body in _archive("r4-xml").items()}


@pytest.fixture(scope="module")
def twins() -> dict[str, bytes]:
    return {name.removesuffix(".json"): body for name, body in _archive("r4-json-named").items()}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> etree.XMLSchema:
    folder = tmp_path_factory.mktemp("xsd")
    for name, body in _archive("xsd").items():
        (folder / name).write_bytes(body)
    return etree.XMLSchema(etree.parse(folder / "fhir-all.xsd"))


def _differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ; narratives are compared as XML."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from _differences(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (each, its_twin) in enumerate(zip(one, other, strict=True)):
            yield from _differences(each, its_twin, f"{place}[{index}]")
    elif one != other and not (place.endswith(".div") and _canonical(one) == _canonical(other)):
        yield place, one, other


def _canonical(narrative: str) -> bytes:
    found: bytes = etree.tostring(etree.fromstring(narrative), method="c14n")
    return found


def _is_known(name: str, difference: tuple[str, Any, Any]) -> bool:
    """Where the twins themselves are not the same: the publisher marked XML alone as test data,
    wrote some decimals of JSON without their last zero, and wrapped base64 in XML."""
    place, ours, theirs = difference
    if "HTEST" in f"{ours}{theirs}":
        return True
    if place.endswith((".data", ".hash")):
        return "".join(ours.split()) == "".join(theirs.split())
    if place.endswith(".div"):
        return name in OTHER_LAYOUT
    if isinstance(ours, str) and isinstance(theirs, str | int):
        return name in ROUNDED or Decimal(ours) == Decimal(theirs)
    return False


def test_every_official_xml_is_read_as_its_twin_says(
    xml: dict[str, bytes], twins: dict[str, bytes]
) -> None:
    assert len(xml) == 875
    assert xml.keys() - twins.keys() == WITHOUT_TWIN
    wrong = {}
    for name in xml.keys() & twins.keys():
        found = _differences(_decoder.decode(json_of(xml[name])), _decoder.decode(twins[name]))
        unknown = [each for each in found if not _is_known(name, each)]
        if unknown:
            wrong[name] = unknown[:2]
    assert wrong == {}


def test_no_value_is_lost_from_xml_to_json_and_back(xml: dict[str, bytes]) -> None:
    changed = []
    for name, body in xml.items():
        read = json_of(body)
        written = xml_of(read)
        again = [json_of(written), json_of(pretty_xml(written))]
        if any(_decoder.decode(each) != _decoder.decode(read) for each in again):
            changed.append(name)
    assert changed == []


def test_no_value_is_lost_from_json_to_xml_and_back(twins: dict[str, bytes]) -> None:
    wrong = {}
    for name, body in twins.items():
        found = _differences(_decoder.decode(json_of(xml_of(body))), _decoder.decode(body))
        if left := list(found):
            wrong[name] = left[:2]
    assert wrong == {}


def test_all_that_is_written_follows_the_schemas(
    twins: dict[str, bytes], schema: etree.XMLSchema
) -> None:
    wrong = {}
    for name, body in twins.items():
        written = xml_of(body)
        for each in (written, pretty_xml(written)):
            if not schema.validate(etree.fromstring(each)):
                wrong[name] = str(schema.error_log[0])
    assert wrong == {}


def test_the_schemas_would_notice(schema: etree.XMLSchema) -> None:
    late = etree.fromstring(
        '<Group xmlns="http://hl7.org/fhir"><actual value="true"/><type value="person"/></Group>'
    )
    assert not schema.validate(late)


def test_twins_get_the_same_verdict(xml: dict[str, bytes], twins: dict[str, bytes]) -> None:
    validator = Validator()
    differ = [
        name
        for name in xml.keys() & twins.keys()
        if validator.is_valid(parse(json_of(xml[name])))
        is not validator.is_valid(parse(twins[name]))
    ]
    assert differ == []


_PIECES = (
    *(b"<", b">", b'"', b"&", b"&#0;", b"<!--", b"<![CDATA[", b"]]>", b"<?x?>", b"\x00", b"\xff"),
    *(b'value=""', b'value="1e999"', b' id="a"', b'<extension url="u"/>', b"<contained>", b"text"),
    *(
        b'xmlns="a"',
        b'<div xmlns="http://www.w3.org/1999/xhtml"/>',
        b"<resource><Patient/></resource>",
    ),
)
SEED = 4
MUTATIONS = 3000


def _mutated(chance: random.Random, body: bytes) -> bytes:
    """The document with elements swapped, or bytes replaced, removed and doubled."""
    lines = body.splitlines(keepends=True)
    if chance.random() < 0.6 and len(lines) > 3:
        one, other = chance.sample(range(1, len(lines)), 2)
        lines[one] = chance.choice((lines[other], b"", lines[one] * 2, lines[other] + lines[one]))
        return b"".join(lines)
    start = chance.randrange(len(body))
    end = start + chance.randrange(40)
    return body[:start] + chance.choice((b"", body[start:end] * 2, *_PIECES)) + body[end:]


def test_no_document_is_more_than_refused(xml: dict[str, bytes]) -> None:
    chance = random.Random(SEED)
    small = sorted(name for name, body in xml.items() if len(body) < 20_000)
    verdicts: dict[bool, int] = {True: 0, False: 0}
    for _ in range(MUTATIONS):
        body = _mutated(chance, xml[chance.choice(small)])
        try:
            read = json_of(body)
        except FhirError:
            verdicts[False] += 1
            continue
        verdicts[True] += 1
        if Validator().is_valid(parse(read)):
            assert _decoder.decode(json_of(xml_of(read))) == _decoder.decode(read)
    assert min(verdicts.values()) > MUTATIONS / 10, verdicts

"""The generated tables are pristine R4 4.0.1."""

from pathlib import Path

import pytest

from fhir_server.fhir.definitions import (
    FOLDER,
    choice_key,
    generate,
    resource_types,
    structures,
    value_sets,
)


def test_there_are_the_146_resource_types_of_r4():
    assert len(resource_types()) == 146
    assert {"Patient", "Media", "DocumentManifest", "EffectEvidenceSynthesis"} <= resource_types()
    assert not {"Resource", "DomainResource", "Ingredient", "SubscriptionTopic"} & resource_types()


def test_every_element_has_types_that_are_defined():
    known = structures().keys()
    for name, each in structures().items():
        for element, facts in each["elements"].items():
            assert facts["types"], f"{name}.{element}"
            assert known >= set(facts["types"]), f"{name}.{element}"


def test_inherited_elements_are_part_of_each_type():
    assert {"id", "meta", "text", "contained", "status"} <= structures()["Task"]["elements"].keys()
    assert "modifierExtension" in structures()["Patient.contact"]["elements"]


def test_meta_has_only_the_elements_of_r4():
    assert structures()["Meta"]["elements"].keys() == {
        *("id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag")
    }


def test_content_references_are_resolved():
    elements = structures()["Observation.component"]["elements"]
    assert elements["referenceRange"]["types"] == ["Observation.referenceRange"]


def test_a_choice_lists_its_types():
    value = structures()["Observation"]["elements"]["value"]
    assert value.get("choice")
    assert choice_key("value", value["types"][0]) == "valueQuantity"
    assert len(structures()["Extension"]["elements"]["value"]["types"]) == 50


def test_required_bindings_are_listed_by_code_system():
    url = structures()["Patient"]["elements"]["gender"]["values"]
    assert value_sets()[url] == {
        "http://hl7.org/fhir/administrative-gender": ["male", "female", "other", "unknown"]
    }


@pytest.mark.shared
def test_the_tables_are_what_the_generator_makes_of_the_official_package(tmp_path, monkeypatch):
    package = Path(__file__).parents[2].parent / "shared/spec/hl7.fhir.r4.core-4.0.1.tar.xz"
    if not package.exists():
        pytest.skip(f"not run: the official R4 package is not at {package}")
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    generate.main(str(package))
    for name in ("structures.json", "value_sets.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name

"""The benchmarks run, on a tiny set: figures of a fast machine are not what is tested here."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import diagnose, encryption, index, proof_concurrency, proof_fuzz, synthea
from bench.client import percentile
from bench.diagnose import marked
from deploy.cli import app
from models.malaria.decode import decode
from models.malaria.reading import SmearImage
from tests.bundles import entry, transaction
from tests.fhir_world import Json, observation

IMAGES = Path(__file__).parents[2] / "deploy/demo/images"


def patient_bundle(number: int) -> Json:
    """A patient with two Observations, as the Synthea set has them."""
    url = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
    patient: Json = {"resourceType": "Patient", "name": [{"family": f"Family{number}"}]}
    weight = observation(subject={"reference": url}, valueString="heavy")
    return transaction(
        {**entry("POST", "Patient", patient), "fullUrl": url},
        entry("POST", "Observation", weight),
        entry("POST", "Observation", observation(subject={"reference": url})),
    )


@pytest.mark.slow
def test_the_synthea_bench_states_each_figure_beside_its_floor(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.json").write_text(json.dumps(patient_bundle(number)))

    found = synthea.run({"set": str(tmp_path), "seconds": "0.3", "copies": "1"})

    assert (found["bundles"], found["resources"]) == (6, 18)
    figures = found["sqlite"]
    assert figures["memory"]["now_mb"] > 0
    for at_once in ("1", "4"):
        assert figures["import"][at_once]["of_floor"] > 0
    for work in ("read", "create", "update", "search"):
        for clients in ("1", "8", "64"):
            assert figures[work][clients]["requests"] > 0
            assert figures[work][clients]["refused"] == 0
    assert figures["read"]["1"]["of_floor"] > 0
    assert figures["update"]["64"]["of_floor"] > 0


@pytest.mark.slow
def test_the_encryption_bench_compares_the_same_work_both_ways(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.json").write_text(json.dumps(patient_bundle(number)))

    found = encryption.run({"set": str(tmp_path), "seconds": "0.5"})

    assert found["resources"] == 18
    assert set(found["ratio_of_cpu"]) == {"import", "read", "search"}
    assert found["encrypted"]["file_mb"] > 0


def test_the_index_bench_counts_terms_with_the_words_of_texts_apart(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.json").write_text(json.dumps(patient_bundle(number)))

    found = index.run({"set": str(tmp_path)})

    assert found["observations"] == 12
    assert 10 < found["terms"]["median"] <= found["terms"]["most"] <= 50
    assert 0 < found["bytes"]["together"] < found["bytes_with_words"]["together"]


@pytest.mark.slow
def test_the_diagnose_bench_measures_every_kind_of_submission() -> None:
    found = diagnose.run({"rate": "2", "seconds": "1"})

    for kind in ("symptoms", "cell", "field"):
        assert found["kinds"][kind]["alone"]["answers"] == 5
        assert found["kinds"][kind]["at_rate"]["answers"] == 2
    assert found["cell_and_view"]["milliseconds"].keys() == {"one_cell", "hundred_cells"}


@pytest.mark.parametrize("name", ["cell-parasitized.png", "field-1.jpg"])
def test_a_marked_image_is_the_same_picture_in_other_bytes(name: str) -> None:
    content = (IMAGES / name).read_bytes()

    first, second = marked(content, 1), marked(content, 2)

    assert first != second
    assert (decode(SmearImage(first)).rgb == decode(SmearImage(content)).rgb).all()


@pytest.mark.parametrize("bench", ["synthea", "diagnose"])
def test_an_option_that_a_bench_does_not_have_is_refused_by_name(bench: str) -> None:
    answer = CliRunner().invoke(app, ["bench", bench, "--option", "speed=11"])

    assert answer.exit_code == 2
    assert "speed" in answer.output


def test_percentiles_are_values_that_were_measured() -> None:
    ordered = [float(each) for each in range(1, 101)]

    assert percentile(ordered, 50) == 50
    assert percentile(ordered, 99) == 99
    assert percentile([7.0], 99) == 7
    assert percentile([], 99) == 0


@pytest.mark.slow
def test_many_conditional_creates_at_once_give_one_and_overlapping_transactions_end() -> None:
    found = proof_concurrency.run({"creates": "300", "transactions": "60"})

    assert found["passed"], found
    assert found["sqlite"]["creates"]["statuses"] == {"200": 299, "201": 1}
    assert found["sqlite"]["transactions"]["statuses"] == {"200": 60}


@pytest.mark.slow
def test_no_random_request_gets_an_answer_of_500_or_none() -> None:
    found = proof_fuzz.run({"requests": "1000", "schema": "1"})

    assert found["passed"], found["wrong"]
    assert found["requests"] == 1000
    assert found["schemathesis"]["cases"] > 50
    assert {"200", "201", "400", "404", "405", "412"} <= found["statuses"].keys()

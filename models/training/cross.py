"""One network for each fold of patients, learnt from the patients of the others; and one, of a fold
that nobody lies in, learnt from all of them.

Networks learn side by side, each in a process of one thread, so that a machine gives the same
weights whatever else it does. They are kept in a work folder: a run that was cut off goes on, and
one with another recipe or other data is not mixed up with it.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import MutableSequence, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path

import keras

from models.training.fit import Material, fit, fix_threads
from models.training.folds import FOLDS
from models.training.study import Progress, Study

RECIPE = "recipe.json"
LOOK_SECONDS = 2.0

_Here = tuple[Study, MutableSequence[int], MutableSequence[int]]
_here: list[_Here] = []
"""In a process that learns: the study, and the steps done and in all, by fold."""


class OtherRecipe(ValueError):
    """The work folder holds networks of another recipe or other data."""


def networks(
    study: Study, work: Path, folds: Sequence[int], progress: Progress
) -> list[keras.Model]:
    """The networks of some folds (FOLDS: the one of all patients), learnt now unless the work
    folder has them already; OtherRecipe when that folder is of another study."""
    work.mkdir(parents=True, exist_ok=True)
    mark = json.dumps({**asdict(study.recipe), "data": _digest(study)}, sort_keys=True)
    path = work / RECIPE
    if path.is_file() and path.read_text(encoding="utf-8") != mark:
        raise OtherRecipe(f"{work} holds networks of another recipe or other data")
    path.write_text(mark, encoding="utf-8")
    places = {number: work / f"fold{number}.keras" for number in folds}
    missing = {number: place for number, place in places.items() if not place.is_file()}
    if missing:
        _learn_all(study, missing, progress)
    return [keras.models.load_model(place) for place in places.values()]


def _digest(study: Study) -> str:
    """Of everything that is learnt from: fields of other hospitals count as cells do."""
    found = hashlib.sha256(study.data_sha256.encode())
    for pixels in (study.foreign, study.outliers):
        found.update(pixels.tobytes())
    return found.hexdigest()


def _learn_all(study: Study, places: dict[int, Path], progress: Progress) -> None:
    context = multiprocessing.get_context("spawn")
    done, steps = (context.Array("l", FOLDS + 1, lock=False) for _ in range(2))
    side_by_side = min(len(places), os.cpu_count() or 1)
    with ProcessPoolExecutor(
        side_by_side, context, initializer=_begin, initargs=(study, done, steps)
    ) as pool:
        running = {pool.submit(_learn, number, place) for number, place in places.items()}
        while running:
            ended, running = wait(running, LOOK_SECONDS, FIRST_EXCEPTION)
            for number in places:
                progress(_step(number), done[number], steps[number] or 1)
            for each in ended:
                each.result()


def _step(number: int) -> str:
    return "learning from all" if number == FOLDS else f"learning without fold {number}"


def _begin(study: Study, done: MutableSequence[int], steps: MutableSequence[int]) -> None:
    fix_threads()
    _here.append((study, done, steps))


def _learn(number: int, place: Path) -> None:
    """Learn and keep the network of one fold; each begins with weights of its own."""
    study, done, steps = _here[0]

    def told(step: int, of: int, loss: float) -> None:
        done[number], steps[number] = step, of

    material = Material(study.without(number), study.foreign, study.outliers)
    model = fit(material, replace(study.recipe, seed=study.recipe.seed + number), told)
    whole = place.with_name(f"new-{place.name}")
    model.save(whole)
    whole.rename(place)

"""Runs the search proof with one mistake planted: `python -m bench.planted NUMBER COUNT FOLDER
[URI]`.

A process of its own, so that every module sees the mistake. Prints what was found as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from bench.mutants import MUTANTS, Mutant


class _Loader(SourceFileLoader):
    """Loads a module with the mistake in it."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        """The changed source, compiled; never from a cache."""
        source = self.get_data(self.path).decode()
        if source.count(self._mutant.old) != 1:
            raise SystemExit(f"{self._mutant.name}: its source has changed")
        return compile(source.replace(self._mutant.old, self._mutant.new), self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The mistaken module; every other is left to Python."""
        if name != self._mutant.module:
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(name, spec.origin, self._mutant)
        return spec


def main(number: int, count: int, folder: str, uri: str | None = None) -> dict[str, Any]:
    """What the proof says with this mistake, on the store that has it: the difference that it
    found, or None."""
    mutant = MUTANTS[number]
    sys.meta_path.insert(0, _Finder(mutant))
    # Only now: everything below is loaded with the mistake in it.
    from pathlib import Path

    from bench.agreement import Disagreement
    from bench.proof_search import proved

    try:
        place = Path(folder) if mutant.store == "sqlite" else None
        asyncio.run(proved(place, uri, count=count, start=number))
    except Disagreement as found:
        return {"mutant": mutant.name, "difference": str(found).partition("\n")[0]}
    except Exception as failure:
        return {"mutant": mutant.name, "difference": f"{type(failure).__name__}: {failure}"}
    return {"mutant": mutant.name, "difference": None}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])))

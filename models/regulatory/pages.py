"""The regulatory pages as Markdown and JSON, by file name; the same facts give the same bytes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.regulatory.facts import Requirement, Risk, attributes, principles, requirements, risks

CAUTION = (
    "> Research use; not a medical device; not for diagnosis. This page helps a reader to judge "
    "the software. It is no certificate, no declaration of conformity, and nobody has assessed "
    "it.\n"
)
MADE = "\nMade by `medsage models regulatory` from the same facts as the software; not edited.\n"
_UP = "../../"
_ACCEPTABLE, _TOLERABLE = 5, 10
"""Severity times probability up to which a risk is accepted, and up to which it is tolerated when
nothing further can be done."""


def pages(cards: Sequence[ModelCard]) -> Mapping[str, str]:
    """Every page by its file name."""
    known = requirements()
    return {
        "README.md": _index(),
        "intended-use.md": _intended_use(cards),
        "requirements.md": _trace(known),
        "risks.md": _risks(risks(), known),
        "gmlp.md": _gmlp(),
        "model-facts.md": _facts_page(cards),
        "model-facts.json": _facts_json(cards),
    }


def write_pages(folder: Path, cards: Sequence[ModelCard]) -> None:
    """Write them all into a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(cards).items():
        (folder / name).write_text(text, encoding="utf-8")


def _page(title: str, *parts: str) -> str:
    return "\n".join([f"# {title}\n", CAUTION, *parts, MADE])


def _index() -> str:
    rows = [
        ("intended-use.md", "Intended use", "what each model is for, for whom, and what not for"),
        ("requirements.md", "Requirements and tests", "a trace in the style of IEC 62304"),
        ("risks.md", "Risks", "hazards, controls and what is left, in the style of ISO 14971"),
        ("gmlp.md", "Good machine learning practice", "the ten principles of IMDRF N88"),
        ("model-facts.md", "Model facts", "the 31 source attributes of HTI-1"),
    ]
    lines = [f"| [{title}]({name}) | {what} |" for name, title, what in rows]
    facts = "\nThe model facts are there for programs too: [model-facts.json](model-facts.json).\n"
    return _page("Regulatory pages", "| | |\n|---|---|\n" + "\n".join(lines), facts)


def _intended_use(cards: Sequence[ModelCard]) -> str:
    parts = []
    for card in cards:
        parts += [
            f"## {card.name}\n",
            f"{_line(card.summary)}\n",
            f"**Intended use.** {_line(card.intended_use)}\n",
            f"**Users.** {_line(card.users)}\n",
            "**Not for**\n\n" + _list(card.not_for),
            "**Limits**\n\n" + _list(card.limits),
        ]
    return _page("Intended use", *parts)


def _trace(known: Sequence[Requirement]) -> str:
    head = "| id | requirement | where | shown by |\n|---|---|---|---|\n"
    rows = [
        f"| {each.id} | {each.text} | {_links(each.code)} | {_tests(each.tests)} |"
        for each in known
    ]
    text = (
        "Each requirement, the files that meet it, and the tests that show it. A test of the suite "
        "fails when a test or file named here is not there any more.\n"
    )
    return _page("Requirements and their tests", text, head + "\n".join(rows))


def _risks(found: Sequence[Risk], known: Sequence[Requirement]) -> str:
    scale = (
        "Severity: 1 negligible, 2 minor, 3 serious, 4 critical, 5 catastrophic. Probability for "
        "one patient who is assessed: 1 improbable, 2 remote, 3 occasional, 4 probable, 5 "
        "frequent. "
        f"The product is accepted up to {_ACCEPTABLE}; up to {_TOLERABLE} it is tolerated where "
        "nothing further can be done, and the reader is told. All of these are the authors' "
        "estimates: no clinical study stands behind them.\n"
    )
    head = "| id | hazard | severity | before | after | judged |\n|---|---|---|---|---|---|\n"
    rows = [
        f"| [{each.id}](#{each.id.lower()}) | {each.hazard} | {each.severity} "
        f"| {each.severity * each.before} | {each.severity * each.after} | {_judged(each)} |"
        for each in found
    ]
    by_id = {each.id: each for each in known}
    return _page("Risks", scale, head + "\n".join(rows) + "\n", *(_risk(r, by_id) for r in found))


def _risk(each: Risk, known: Mapping[str, Requirement]) -> str:
    shown = [test for id in each.requirements for test in known[id].tests]
    traced = ", ".join(f"[{id}](requirements.md)" for id in each.requirements)
    return "\n".join(
        [
            f"## {each.id}\n",
            f"**{each.hazard}.** Cause: {each.cause}. Harm: {each.harm}.\n",
            f"Severity {each.severity}; probability {each.before} before and {each.after} after "
            f"the controls: {_judged(each)}.\n",
            _list(each.controls),
            f"Requirements: {traced}. Tests: {_tests(shown)}.\n",
            f"What is left: {each.residual}\n",
        ]
    )


def _judged(risk: Risk) -> str:
    score = risk.severity * risk.after
    if score <= _ACCEPTABLE:
        return "accepted"
    return "tolerated" if score <= _TOLERABLE else "not acceptable without further control"


def _gmlp() -> str:
    head = "| | principle | what there is | see |\n|---|---|---|---|\n"
    rows = [
        f"| {each.number} | {each.text} | {each.how} "
        f"| {_links(each.files)} {' '.join(each.requirements)} |"
        for each in principles()
    ]
    text = (
        "The ten principles of IMDRF/AIML WG/N88 FINAL:2025 in our own words, and what is there "
        "for each; where something is missing it says so.\n"
    )
    return _page("Good machine learning practice", text, head + "\n".join(rows))


def _facts_page(cards: Sequence[ModelCard]) -> str:
    known = attributes(cards)
    parts = [
        "The source attributes of 45 CFR 170.315(b)(11)(iv)(B) in our own words, with what is "
        "known for each model. The software is not certified to that criterion or any other.\n"
    ]
    for card in cards:
        parts.append(f"## {card.name} {card.version}\n")
        rows = [f"| {each.id} | {each.asked} | {each.answers[card.id]} |" for each in known]
        parts.append("| | asked | known |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return _page("Model facts", *parts)


def _facts_json(cards: Sequence[ModelCard]) -> str:
    return json.dumps(model_facts(cards), indent=2, ensure_ascii=False) + "\n"


def model_facts(cards: Sequence[ModelCard]) -> dict[str, Any]:
    """The source attributes of each model as plain values, for programs."""
    known = attributes(cards)
    return {
        "notice": "Research use; not a medical device; not for diagnosis. No certification.",
        "attributes": "45 CFR 170.315(b)(11)(iv)(B), in our own words",
        "models": [
            {
                "id": card.id,
                "name": card.name,
                "version": card.version,
                "facts": [
                    {
                        "id": each.id,
                        "group": each.group,
                        "asked": each.asked,
                        "known": each.answers[card.id],
                    }
                    for each in known
                ],
            }
            for card in cards
        ],
    }


def _tests(named: Sequence[str]) -> str:
    unique = dict.fromkeys(named)
    return "<br>".join(
        f"`{test.split('::')[1]}` in {_link(test.split('::')[0])}" for test in unique
    )


def _links(paths: Sequence[str]) -> str:
    return "<br>".join(_link(path) for path in paths)


def _link(path: str) -> str:
    return f"[{path}]({_UP}{path})"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())

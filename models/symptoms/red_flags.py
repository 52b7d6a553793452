"""The safety net: rules always run, and a language model can only raise what they say."""

from dataclasses import replace

from models.symptoms import rules
from models.symptoms.advice import recommendations
from models.symptoms.facts import SymptomFacts
from models.symptoms.port import Analysis, NoAnswer, SymptomAnalyst


class SafeAnalyst:
    """Rules, joined by a language model when there is one. Always has an answer: without the
    model's it is the rules alone, and says so."""

    def __init__(self, language_model: SymptomAnalyst | None = None) -> None:
        self._language_model = language_model

    @property
    def origin(self) -> str:
        if self._language_model is None:
            return rules.ORIGIN
        return f"{rules.ORIGIN} with {self._language_model.origin}"

    async def analyse(self, facts: SymptomFacts) -> Analysis:
        """The rules' analysis, or both joined; never less urgent than the rules."""
        by_rules = rules.analyse(facts)
        if self._language_model is None:
            return by_rules
        try:
            by_model = await self._language_model.analyse(facts)
        except NoAnswer as reason:
            note = f"No result from the language model: {reason}. Rules alone."
            return replace(by_rules, notes=(*by_rules.notes, note))
        return join(by_rules, by_model)


def join(by_rules: Analysis, by_model: Analysis) -> Analysis:
    """Both analyses as one: the higher urgency, the rules' findings, and each possibility once
    (the rules' own stands)."""
    urgency = max(by_rules.urgency, by_model.urgency)
    known = {possibility.name.casefold() for possibility in by_rules.possibilities}
    added = [item for item in by_model.possibilities if item.name.casefold() not in known]
    notes = (*by_rules.notes, *by_model.notes)
    if by_model.urgency > by_rules.urgency:
        notes += (f"Urgency raised to {urgency.code} by {by_model.origin}.",)
    return Analysis(
        origin=f"{by_rules.origin} with {by_model.origin}",
        urgency=urgency,
        findings=by_rules.findings,
        recommendations=recommendations(by_rules.findings, urgency),
        possibilities=(*by_rules.possibilities, *added),
        statements=by_model.statements,
        notes=notes,
        model_use=by_model.model_use,
    )

"""What random resources and searches are made of."""

IDS = ("a", "b", "c", "a1")
SYSTEMS = ("http://loinc.org", "http://l", "http://loinc.org/x")
CODES = ("1", "10", "a", "A", "ä", "1,2", "x|y", "\U0001d538", "\uffff")
WORDS = (
    "Ann", "ann", "Änne", "Anna Maria", "O'Neil", "Neil", "東京", "\U0001f600", "\uff9c", "a%b",
    "a_b",
)  # fmt: skip
"""Letters beyond the basic plane sort after U+FFFF by code point and before it in UTF-16;
% and _ mean something to SQL."""
DATES = (
    "2013", "2013-01", "2013-01-14", "2013-01-14T12:00:00Z", "2013-01-14T12:00:00.5+02:00",
    "2013-12-31", "2014", "2014-01-01T00:00:00Z", "1969-12-31", "0001-01-01", "9999-12-31",
)  # fmt: skip
NUMBERS = ("0", "1", "1.0", "-1", "5.4", "5.40", "5.45", "99.5", "100", "100.5", "1e2", "0.001")
UNITS = (None, "mg", "g", "kg", "Cel", "nonsense")
PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
TYPES = ("Patient", "Observation", "Encounter", "RiskAssessment", "Questionnaire")
UCUM = "http://unitsofmeasure.org"
URLS = ("http://e/q", "http://e/q/1", "http://e/q/10", "urn:x:1")

MODIFIERS: dict[str, tuple[tuple[str, str], ...]] = {
    "token": (("", "token"), ("not", "token"), ("text", "word")),
    "string": (("", "string"), ("exact", "string"), ("contains", "string")),
    "reference": (("", "reference"), ("identifier", "token"), ("Patient", "id")),
    "uri": (("", "uri"), ("below", "uri"), ("above", "uri")),
    "id": (("", "id"), ("not", "id")),
}
"""Kind → (modifier, kind of the value that it takes)."""

PARAMETERS: dict[str, dict[str, str]] = {
    "Patient": {
        "name": "string", "family": "string", "identifier": "token", "birthdate": "date",
        "active": "token", "gender": "token", "_tag": "token", "_profile": "uri", "_id": "id",
        "deceased": "token",
    },
    "Observation": {
        "code": "token", "category": "token", "combo-code": "token", "status": "token",
        "date": "date", "value-quantity": "quantity", "combo-value-quantity": "quantity",
        "value-string": "string", "value-concept": "token", "value-date": "date",
        "subject": "reference", "_lastUpdated": "date", "_security": "token", "_id": "id",
        "code-value-quantity": "composite", "component-code-value-quantity": "composite",
        "combo-code-value-quantity": "composite", "code-value-string": "composite",
        "code-value-date": "composite",
    },
    "Encounter": {
        "subject": "reference", "date": "date", "location-period": "date", "type": "token",
        "_id": "id",
    },
    "RiskAssessment": {
        "subject": "reference", "probability": "number", "date": "date", "_id": "id",
    },
    "Questionnaire": {
        "url": "uri", "title": "string", "version": "token", "date": "date", "_id": "id",
    },
}  # fmt: skip
"""Type → parameter → kind: what random searches ask for."""

LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "Patient": (("link", "Patient"),),
    "Observation": (
        ("subject", "Patient"),
        ("encounter", "Encounter"),
        ("has-member", "Observation"),
    ),
    "Encounter": (("subject", "Patient"),),
    "RiskAssessment": (("subject", "Patient"),),
}
"""Type → (reference parameter, target type) for chains."""

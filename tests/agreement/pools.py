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
NUMBERS = (
    "0", "1", "1.0", "-1", "-2", "-0.5", "-10", "5.36", "5.4", "5.40", "5.45", "95", "99.5", "100",
    "100.5", "1e2", "0.001",
)  # fmt: skip
UNITS = (None, "mg", "g", "kg", "Cel", "nonsense")
PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
TYPES = (
    "Patient", "Observation", "Encounter", "RiskAssessment", "Questionnaire",
    "QuestionnaireResponse", "Location", "List", "ServiceRequest",
)  # fmt: skip
UCUM = "http://unitsofmeasure.org"
URLS = ("http://e/q", "http://e/q/1", "http://e/q/10", "urn:x:1")

PLACES = (
    ("0", "0"), ("0.05", "0"), ("0", "179.99"), ("0.0", "-179.99"), ("89.9", "10"),
    ("89.9", "-170"), ("51.5", "-0.12"), ("51.52", "-0.1"), ("-33.9", "151.2"),
)  # fmt: skip
"""Latitude and longitude: neighbours, the antimeridian, the pole."""
DISTANCES = ("", "|1|km", "|2500|m", "|15", "|30|km", "|5000|km", "|20100|km", "|0|km")

VALUE_SETS: dict[str, tuple[tuple[str, str], ...]] = {
    "http://e/vs/some": (("http://loinc.org", "1"), ("http://l", "a"), ("http://l", "x|y")),
    "http://e/vs/none": (),
    "http://e/vs/sex": (("http://hl7.org/fhir/administrative-gender", "male"),),
}
PARENTS: dict[str, dict[str, str]] = {
    "http://l": {"A": "a", "1": "A", "10": "A"},
    "http://loinc.org": {"10": "1"},
}
"""System → code → the code above it."""

MODIFIERS: dict[str, tuple[tuple[str, str], ...]] = {
    "token": (
        ("", "token"), ("", "token"), ("not", "token"), ("text", "word"), ("in", "value set"),
        ("not-in", "value set"), ("below", "place in a system"), ("above", "place in a system"),
    ),
    "coded": (("", "coded"), ("not", "coded"), ("in", "value set")),
    "identifier": (("", "token"), ("of-type", "identifier of a type"), ("text", "word")),
    "string": (("", "string"), ("exact", "string"), ("contains", "string")),
    "reference": (("", "reference"), ("identifier", "token"), ("Patient", "id")),
    "practitioner": (("", "reference"), ("identifier", "token"), ("Practitioner", "id")),
    "part": (("", "reference"), ("below", "id"), ("above", "id")),
    "canonical": (("", "canonical"), ("below", "canonical")),
    "uri": (("", "uri"), ("below", "uri"), ("above", "uri")),
    "id": (("", "id"), ("not", "id")),
    "telecom": (("", "telecom"), ("not", "telecom")),
    "version": (("", "token"), ("not", "token")),
}  # fmt: skip
"""Kind → (modifier, kind of the value that it takes)."""

EVERYWHERE = {
    "_id": "id", "_lastUpdated": "date", "_tag": "token", "_security": "token",
    "_profile": "uri", "_source": "uri",
}  # fmt: skip
PARAMETERS: dict[str, dict[str, str]] = {
    "Patient": {
        "name": "string", "family": "string", "given": "string", "identifier": "identifier",
        "birthdate": "date", "active": "coded", "gender": "coded", "deceased": "coded",
        "death-date": "date", "address": "string", "address-city": "string",
        "telecom": "telecom", "phone": "telecom", "address-use": "coded",
        "general-practitioner": "practitioner",
    },
    "Observation": {
        "code": "token", "category": "token", "combo-code": "token", "status": "coded",
        "date": "date", "value-quantity": "quantity", "combo-value-quantity": "quantity",
        "value-string": "string", "value-concept": "token", "value-date": "date",
        "subject": "reference", "_text": "words",
        "code-value-quantity": "composite", "component-code-value-quantity": "composite",
        "combo-code-value-quantity": "composite", "code-value-string": "composite",
        "code-value-date": "composite", "code-value-concept": "composite",
    },
    "Encounter": {
        "subject": "reference", "date": "date", "location-period": "date", "type": "token",
        "part-of": "part",
    },
    "RiskAssessment": {"subject": "reference", "probability": "number", "date": "date"},
    "Questionnaire": {"url": "uri", "title": "string", "version": "version", "date": "date"},
    "QuestionnaireResponse": {
        "questionnaire": "canonical", "subject": "reference", "status": "coded",
    },
    "Location": {
        "near": "near", "name": "string", "address": "string", "partof": "part", "type": "token",
    },
    "List": {"item": "reference", "title": "string", "code": "token", "subject": "reference"},
    "ServiceRequest": {
        "instantiates-canonical": "canonical", "code": "token", "occurrence": "date",
        "subject": "reference", "performer": "reference",
    },
}  # fmt: skip
"""Type → parameter → kind: what random searches ask for, with what is asked everywhere."""

LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "Patient": (("link", "Patient"),),
    "Observation": (
        ("subject", "Patient"),
        ("encounter", "Encounter"),
        ("has-member", "Observation"),
    ),
    "Encounter": (("subject", "Patient"), ("location", "Location"), ("part-of", "Encounter")),
    "RiskAssessment": (("subject", "Patient"),),
    "QuestionnaireResponse": (("questionnaire", "Questionnaire"), ("subject", "Patient")),
    "Location": (("partof", "Location"),),
    "List": (
        ("item", "Observation"),
        ("item", "List"),
        ("item", "ServiceRequest"),
        ("item", "RiskAssessment"),
        ("subject", "Patient"),
    ),
    "ServiceRequest": (("subject", "Patient"),),
}
"""Type → (reference parameter, target type) for chains."""

"""The search parameter types of R4, one module each: values to terms, queries to expressions."""

from collections.abc import Mapping

from fhir_server.search.kinds.age import AGE
from fhir_server.search.kinds.asked import KindOfParameter
from fhir_server.search.kinds.date import DATE
from fhir_server.search.kinds.near import NEAR
from fhir_server.search.kinds.number import NUMBER
from fhir_server.search.kinds.quantity import QUANTITY
from fhir_server.search.kinds.reference import REFERENCE
from fhir_server.search.kinds.string import STRING
from fhir_server.search.kinds.token import ID, TOKEN
from fhir_server.search.kinds.uri import URI
from fhir_server.search.kinds.words import CONTENT, NARRATIVE

KINDS: Mapping[str, KindOfParameter] = {
    "id": ID,
    "number": NUMBER,
    "date": DATE,
    "string": STRING,
    "token": TOKEN,
    "reference": REFERENCE,
    "quantity": QUANTITY,
    "uri": URI,
    "age": AGE,
    "near": NEAR,
    "narrative": NARRATIVE,
    "content": CONTENT,
}
"""By `Parameter.kind`; composites are made of these (`search/composite.py`)."""

"""What random requests are made of."""

from typing import Any

TYPES = (
    *("Patient", "Observation", "Condition", "Encounter", "Practitioner", "Organization"),
    *("Location", "MedicationRequest", "DiagnosticReport", "Bundle", "Binary", "Media", "List"),
    *("Composition", "ValueSet", "CodeSystem", "SearchParameter", "Parameters", "AuditEvent"),
    *("Subscription", "Provenance", "Group", "Basic", "Immunization", "Task", "Medication"),
    *("patient", "Nothing", "Resource", "DomainResource", "", "Patient ", "Pätient"),
)
IDS = (
    *("1", "a", "example", "f001", "none-such", "x" * 64, "x" * 65, "a b", "a/b", "ä", "..", "-"),
    *("$everything", "_history", "*", "%", "urn:uuid:0", "1?x=1", "\u0000", "\u202e", "😀"),
)
VERSIONS = ("1", "2", "0", "-1", "01", "1.5", "x", "9" * 30, "")
METHODS = ("GET", "GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
METHODS_MORE = ("TRACE", "FOO", "get")

SHAPES = (
    *("", "metadata", "_history", "_search", "{t}", "{t}", "{t}", "{t}/{i}", "{t}/{i}", "{t}/{i}"),
    *("{t}/{i}/_history", "{t}/{i}/_history/{v}", "{t}/_history", "{t}/_search", "{t}/{i}/{t}"),
    *("{t}/{i}/*", "{t}/{i}/{t}/_search", "{t}/${o}", "{t}/{i}/${o}", "${o}", "{t}/{i}/{t}/{i}"),
    *("{t}/{i}/_history/{v}/${o}", "_async/{i}", "{t}//{i}", "./{t}", "{t}/{i}/", "nothing/at/all"),
)
OPERATIONS = (
    *("everything", "meta", "meta-add", "meta-delete", "lastn", "document", "validate", "dry-run"),
    *("undo", "explain", "expand", "export", "nothing", "", "$"),
)

PARAMETERS = (
    *("_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_text", "_content"),
    *("_list", "_has", "_type", "_filter", "_query", "_contained", "_containedType", "_sort"),
    *("_count", "_include", "_revinclude", "_summary", "_total", "_elements", "_format", "_pretty"),
    *("_since", "_at", "_cursor", "_maxresults", "_score", "identifier", "name", "family", "given"),
    *("birthdate", "gender", "deceased", "address", "telecom", "active", "general-practitioner"),
    *("code", "value-quantity", "value-concept", "value-date", "value-string", "date", "patient"),
    *("subject", "subject.name", "subject:Patient.name", "encounter.participant.name", "status"),
    *("code-value-quantity", "component-code-value-quantity", "combo-code", "category", "near"),
    *("url", "version", "context-type-value", "address-city", "phonetic", "onset-age", "item"),
    *("_has:Observation:patient:code", "_has:Group:member:_has:Group:member:_id", "organization"),
    *(
        "max",
        "start",
        "end",
        "resource",
        "mode",
        "profile",
        "persist",
        "nothing",
        "",
        "päram",
        "a[b]",
    ),
)
MODIFIERS = (
    *("", "", "", "", "", ":missing", ":exact", ":contains", ":text", ":not", ":in", ":not-in"),
    *(":above", ":below", ":of-type", ":identifier", ":Patient", ":iterate", ":", ":x", ":exact:x"),
)
PREFIXES = ("", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx", "GE")
VALUES = (
    *("1", "0", "-1", "1e2", "5.40", "1e400", "1e-400", "NaN", "Infinity", "0x10", "١", "--1"),
    *("true", "false", "TRUE", "2024", "2024-02", "2024-02-30", "2024-02-29", "0000", "9999-12-31"),
    *(
        "2024-02-29T12:00",
        "2024-02-29T12:00:00Z",
        "2024-02-29T23:59:60+14:00",
        "2024-13",
        "20240229",
    ),
    *("2024-02-29T12:00:00.123456789-11:30", "-0001", "10000-01-01", "2024-02-29T24:00:00Z"),
    *(
        "male",
        "http://loinc.org|8302-2",
        "|x",
        "x|",
        "|",
        "||",
        "a|b|c",
        "a$b",
        "a$b$c",
        "$",
        "a\\",
    ),
    *(
        "a\\,b",
        "a\\$b",
        "a\\|b",
        "a\\\\",
        "a,b,c",
        ",",
        ",,",
        "x" * 3000,
        "Müller",
        "müller",
        "%",
        "*",
    ),
    *("Patient/1", "Patient/", "/1", "Patient/1/_history/2", "http://a/b/Patient/1", "urn:uuid:x"),
    *(
        "5.4|http://unitsofmeasure.org|mg",
        "5.4||mg",
        "|mg",
        "1|2|3|4",
        "gt5.4|http://u|[",
        "-85|10|9|km",
    ),
    *("42|-83|11.2|km", "91|0", "42|181|1|km", "a|b", "42|-83|1e309|km", "42|-83|-1|mi_us"),
    *("Observation:subject", "*", "Patient:*", "Observation:subject:Patient", "Observation", ":::"),
    *(
        "-date",
        "date,-_id",
        "--date",
        "name:exact",
        "_score",
        "name eq x",
        'name eq "x" and not (a',
    ),
    *('given co "x" or birthdate ge 2020', "((((", 'name[given eq "a"].family', "not(a eq 1)"),
    *(
        "http://hl7.org/fhir/ValueSet/administrative-gender",
        "ValueSet/none",
        "count",
        "data",
        "text",
    ),
    *("", " ", "\t", "\u0000", "\u001f", "\ud7ff", "😀" * 20, "\u202e", "' OR 1=1 --", "{$gt: 1}"),
    *(
        "accurate",
        "estimate",
        "1000000",
        "99999999999999999999",
        "xml",
        "json",
        "application/fhir+xml",
    ),
)
HEADERS: dict[str, tuple[str, ...]] = {
    "Accept": (
        *("application/fhir+json", "application/fhir+xml", "*/*", "text/html", "image/png"),
        *("application/json;q=0.5, text/xml", "application/fhir+json; fhirVersion=3.0", ";;;", ""),
    ),
    "Content-Type": (
        *("application/fhir+json", "application/json", "application/fhir+xml", "text/xml"),
        *("application/json-patch+json", "application/x-www-form-urlencoded", "image/png", "x", ""),
        *("application/fhir+json; charset=latin-1", "multipart/form-data; boundary=x"),
    ),
    "If-Match": ('W/"1"', '"1"', "1", "*", 'W/"999"', 'W/""', 'W/"1", W/"2"', "x"),
    "If-None-Match": ('W/"1"', "*", '"x"', "1", ""),
    "If-Modified-Since": ("Tue, 24 Nov 2026 08:00:00 GMT", "yesterday", "2026-11-24", ""),
    "If-None-Exist": ("identifier=a|b", "name=x", "_id=1", "nothing=x", "", "?", "identifier=%00"),
    "Prefer": (
        *("return=minimal", "return=representation", "return=OperationOutcome", "handling=lenient"),
        *("handling=strict", "respond-async", "return=x", "handling=lenient, respond-async", "="),
    ),
    "Idempotency-Key": ("one", "two", "x" * 300, "", " "),
    "X-Provenance": ("{}", "x"),
    "Range": ("bytes=0-1", "bytes=-1", "x"),
    "Accept-Encoding": ("gzip", "identity;q=0", "x"),
    "Content-Encoding": ("gzip", "identity"),
}
LEAVES: tuple[Any, ...] = (
    *(None, "", " ", "x", 0, 5, -1, 1.5, 10**30, 1e308, True, [], {}, [None], [[]], [{}], {"": 1}),
    *(
        "\u0000",
        "😀",
        "2024-02-30",
        "Patient/1",
        "#x",
        "urn:uuid:1",
        "http://[",
        "x" * 5000,
    ),
    *(
        {"extension": []},
        {"reference": "Patient/1"},
        {"reference": "Patient?name=x"},
        {"value": "x"},
    ),
    *({"resourceType": "Patient"}, {"resourceType": "Nothing"}, "<div>x</div>", "<div", "/a.b.c("),
)
"""What takes the place of a random element."""
RAW = (
    *(b"", b"{", b"[]", b"null", b'"x"', b"5", b"NaN", b"\xef\xbb\xbf{}", b"\xff\xfe", b"{}" * 2),
    *(b'{"resourceType":"Patient","resourceType":"Patient"}', b"[" * 3000, b'{"a":' * 2000),
    *(b'{"resourceType":"Patient","id":"\\ud800"}', b"<Patient", b"<Patient/>", b"\x89PNG\r\n"),
    *(b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/></Patient>', b"a=b&c", b"%%%", b"\x00"),
    *(
        b'<!DOCTYPE x [<!ENTITY a "b">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&a;"/></Patient>',
    ),
    *(b'[{"op":"replace","path":"/gender","value":"male"}]', b'[{"op":"remove","path":"/"}]'),
    *(b'[{"op":"test","path":"/id","value":"x"}]', b'[{"op":"copy","from":"","path":"/a/b"}]'),
    *(b'[{"op":"add","path":"/name/-/given/9","value":null}]', b'[{"op":"x"}]', b"[[]]"),
)

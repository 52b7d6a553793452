"""OperationDefinitions of the operations that this server defines itself, made from their
declarations; published on the server (`publication.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_server.fhir.assessment import CANONICAL
from fhir_server.interactions.context import Resource
from fhir_server.operations.operation import Operation
from fhir_server.operations.query import QUERIES
from fhir_server.operations.registry import OPERATIONS


@dataclass(frozen=True)
class Text:
    """What a definition says beyond the declaration: `parameters` documents each by name, and
    `answer` is the type of what is returned, and what it is."""

    name: str
    title: str
    description: str
    answer: tuple[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)


TEXTS: Mapping[str, Text] = {
    "dry-run": Text(
        "DryRun",
        "What a transaction would change",
        "Runs a transaction without committing it. The answer tells of each entry the action, "
        "the resource (an id that is new is not kept for the transaction itself), the links that "
        "were resolved, the elements that would change, possible duplicates, and every problem.",
        ("Parameters", "outcome (would-commit or would-fail), status, and one part per entry"),
        {"bundle": "The Bundle of type transaction; it may also be the body itself"},
    ),
    "undo": Text(
        "Undo",
        "Take back a transaction",
        "Takes back a committed transaction if none of what it wrote has changed since: what was "
        "created is deleted, what was updated or deleted gets its former content, all as new "
        "versions in one transaction. 409 lists what has changed, 404 says that the transaction "
        "is not known or no longer kept.",
        ("Bundle", "A transaction-response; its id can be undone in turn"),
        {"transaction": "The id of the Bundle with which the transaction was answered"},
    ),
    "reindex": Text(
        "Reindex",
        "Index everything anew",
        "Lets what every resource is found by be made anew, behind the requests. Until that is "
        "done, searches are answered 503 with the progress. For administrators.",
        ("Parameters", "status (whole or indexing), percent, and the url of each that waits"),
    ),
    "reindex-status": Text(
        "ReindexStatus",
        "How far the indexing has come",
        "Tells whether the search index is whole, and if not how far it has come. For "
        "administrators.",
        ("Parameters", "status (whole or indexing), percent, and the url of each that waits"),
    ),
    "lastn": Text(
        "LastN",
        "The newest observations of each code",
        "Observation?_query=lastn: what $lastn answers, as a named query. Further parameters are "
        "those of a search on Observation; a patient or subject, and a category or code, are "
        "needed.",
        ("Bundle", "A searchset with the newest observations of each code"),
        {"max": "How many observations of each code, 1 by default"},
    ),
    "explain": Text(
        "Explain",
        "How a search would be answered",
        "Takes the parameters of a search on the type and tells how it would be answered: what "
        "is asked of the store, which indexes serve it, and what it costs.",
        ("Parameters", "The plan, the use of indexes and the cost"),
    ),
    "recall": Text(
        "Recall",
        "Recall a version of an AI system",
        "Records that what this version made is recalled. The analysis worker then marks every "
        "report and result that the version made in the period, says why in a DetectedIssue, and "
        "opens a Task for whoever signed or asked for the report. Without an end the version is "
        "out of use at once. Asked for again, it tells how far that has come. For administrators.",
        ("Parameters", "recall, device, status (open, done or dry-run), reports, signed, tasks"),
        {
            "reason": "Why, in words that a clinician reads beside the result",
            "from": "Only what was recorded at this time or later",
            "to": "Only what was recorded up to this time; the version then stays in use",
            "dryRun": "Only count, as far as the caller may see reports; nothing is changed",
            "operator": "Whose order a service passes on: an account of the operating system",
        },
    ),
    "model-propose": Text(
        "ModelPropose",
        "Propose a step for a model version",
        "Proposes another state for a registered version of an AI model. It takes effect when "
        "another person approves it. For the roles admin and governance.",
        ("Device", "The version with the proposal"),
        {
            "to": "The state: candidate or active",
            "reason": "Why",
            "share": "The share of the Tasks that a candidate gets, 0 to 50 per cent",
            "verdict": "The MeasureReport that found the version better than the active one; "
            "needed to become active",
        },
    ),
    "model-approve": Text(
        "ModelApprove",
        "Approve what another person proposed",
        "Takes the step that was proposed, unless the caller proposed it or another version has "
        "become active since. A version that becomes active retires the one before it.",
        ("Device", "The version in its new state"),
        {"version": "The version of the Device in which the caller read the proposal"},
    ),
    "model-decline": Text(
        "ModelDecline",
        "Decline or withdraw a proposal",
        "Takes a proposal away; the version stays where it stands.",
        ("Device", "The version without the proposal"),
        {
            "version": "The version of the Device in which the caller read the proposal",
            "reason": "Why",
        },
    ),
    "model-retire": Text(
        "ModelRetire",
        "Take a model version out of use",
        "Retires a version at once. That is the safe direction, so one person may do it. While no "
        "version of a condition is active, its images get no AI opinion.",
        ("Device", "The version, retired"),
        {"reason": "Why"},
    ),
}


def definitions() -> list[Resource]:
    """The OperationDefinitions, each with its fixed id."""
    own = [each for each in OPERATIONS if each.definition.startswith(CANONICAL)]
    queries = [
        _definition(each, TEXTS[each.code])
        | {"id": f"medsage-query-{each.code}", "kind": "query", "instance": False}
        for each in QUERIES
    ]
    return [*(_definition(each, TEXTS[each.code]) for each in own), *queries]


def _definition(operation: Operation, text: Text) -> Resource:
    types = sorted(operation.types) if operation.types else ["Resource"]
    is_on_types = bool(operation.levels - {"system"})
    return {
        "resourceType": "OperationDefinition",
        "id": f"medsage-{operation.code}",
        "url": operation.definition,
        "name": f"MedSage{text.name}",
        "title": text.title,
        "status": "active",
        "kind": "operation",
        "experimental": False,
        "publisher": "MedSAGE project",
        "description": text.description,
        "affectsState": operation.affects_state,
        "code": operation.code,
        **({"resource": types} if is_on_types else {}),
        "system": "system" in operation.levels,
        "type": "type" in operation.levels,
        "instance": "instance" in operation.levels,
        "parameter": [*_inputs(operation, text), _output(text)],
    }


def _inputs(operation: Operation, text: Text) -> list[Resource]:
    return [
        {
            "name": each.name,
            "use": "in",
            "min": each.least,
            "max": "*" if each.most is None else str(each.most),
            "documentation": text.parameters[each.name],
            "type": each.type,
        }
        for each in operation.parameters
    ]


def _output(text: Text) -> Resource:
    type, documentation = text.answer
    return {
        "name": "return",
        "use": "out",
        "min": 1,
        "max": "1",
        "documentation": documentation,
        "type": type,
    }

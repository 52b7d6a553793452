"""What the watch over the models says: codes of feedback, drift and comparison, the Measure of
drift, and the extensions that reports carry."""

from fhir_server.fhir.assessment import CANONICAL
from terminology.concepts import Concept, Resource, System, own

FEEDBACK = (
    Concept(
        "ai-feedback",
        "Feedback on an AI result",
        "What a clinician says about an AI result: accepted, changed, rejected or not assessed.",
    ),
    Concept("feedback-reason", "Reason of the feedback", "Why it was changed or rejected."),
    Concept("feedback-comment", "Feedback in words", "About the AI result, not the patient."),
    Concept(
        "adjudicated-reading",
        "Adjudicated reading",
        "The reading of a third reader, where two read the same images differently.",
    ),
    Concept("wrong-finding", "Wrong finding", "The AI found what is not there."),
    Concept("missed-finding", "Missed finding", "The AI did not find what is there."),
    Concept("wrong-species", "Wrong species", "The AI result suggests another species."),
    Concept("artefact", "Artefact or stain", "An artefact or the stain misled the AI."),
    Concept("wrong-slide", "Wrong patient or slide", "The images are of another patient or slide."),
    Concept("poor-image", "Poor image", "The images are too poor to be judged."),
    Concept("other-reason", "Other", "Another reason, said in words."),
)
IMAGE_SIGNS = (
    Concept("image-brightness", "Brightness of the empty slide", "One for each field, 0 to 255."),
    Concept("image-contrast", "Contrast of the cells", "One for each field, 0 to 255."),
    Concept("image-stain", "Stain: optical density in green", "One for each field."),
    Concept("image-sharpness", "Sharpness of the cells' rims", "One for each field."),
    Concept(
        "score-histogram",
        "Cells by probability, in ten equal bins",
        "How many cells were given a calibrated probability of 0 to 0.1, 0.1 to 0.2 and so on.",
    ),
)
TRAINING = (
    Concept("patients-infected", "Patients with parasites", "In the candidate training set."),
    Concept("patients-clean", "Patients without parasites", "In the candidate training set."),
    Concept("infected-cells", "Infected cells", "In the candidate training set."),
    Concept("clean-cells", "Clean cells", "In the candidate training set."),
    Concept(
        "lacks-consent",
        "Left out: no consent to training",
        "No Consent permits it, or one refuses it.",
    ),
    Concept("lacks-images", "Left out: no image", "The report has no image that is stored here."),
    Concept(
        "lacks-second-reader",
        "Left out: read by fewer than two",
        "Two first readings are needed, made before the AI was shown.",
    ),
    Concept(
        "lacks-adjudication",
        "Left out: read differently, not adjudicated",
        "A third reader is to decide.",
    ),
    Concept(
        "lacks-quality",
        "Left out: poor image, artefact or wrong slide",
        "As a clinician said in the feedback on the AI result.",
    ),
    Concept(
        "lacks-cells",
        "Left out: no cell that may be labelled",
        "Which cells of an infected field hold a parasite nobody said.",
    ),
)
MODEL_MONITORING = System(
    "model-monitoring",
    "MedSAGE monitoring of models",
    "What is measured of an AI model in use (MeasureReport.group.code), how it is judged "
    "(extension judgement), and the AI reading that can be held at a site (HealthcareService).",
    (
        Concept("brightness", "Brightness of images", "Against the reference of validation."),
        Concept("contrast", "Contrast of images", "Against the reference of validation."),
        Concept("stain", "Stain of images", "Against the reference of validation."),
        Concept("sharpness", "Sharpness of images", "Against the reference of validation."),
        Concept("scores", "Scores of cells", "What no mix of the validation's classes explains."),
        Concept("refusals", "Share of images refused", "Images refused among those submitted."),
        Concept("overrides", "Share of results rejected", "Rejected among those judged."),
        Concept("agreement", "Share of results accepted", "Accepted among those judged."),
        Concept("auc", "Difference in AUC", "Candidate less active version, same patients."),
        Concept(
            "sensitivity",
            "Difference in sensitivity at the specificity",
            "Candidate less active version, each at its own threshold for the same specificity.",
        ),
        Concept(
            "calibration",
            "Difference in calibration error",
            "Active less candidate version, so that more is better.",
        ),
        Concept(
            "answered",
            "Difference in cells answered",
            "Candidate less active version: the share of cells that is not refused.",
        ),
        Concept("too-few", "Too few cases to judge", "Nothing is said either way."),
        Concept("steady", "Within limits", "No more than chance explains, or below the limits."),
        Concept("watch", "Above the limit to watch", "More than chance explains; to be looked at."),
        Concept("exceeded", "Above the limit to hold", "The AI reading of the site is held."),
        Concept("no-reference", "No reference", "No validation of this version to compare with."),
        Concept("better", "Better beyond the interval", "The whole interval lies above zero."),
        Concept("same", "No difference beyond the interval", "The interval holds zero."),
        Concept("worse", "Worse", "The interval lies below zero, or the tolerance is exceeded."),
        Concept("ai-reading", "AI reading of images", "The service that is held at a site."),
        Concept("enough", "Enough", "As many as are needed."),
        *TRAINING,
    ),
)
SYSTEMS = (MODEL_MONITORING,)


def measures() -> list[Resource]:
    """The Measures that MeasureReports of the watch over the models are made by."""
    return [
        _measure(
            "ai-drift",
            "Drift of an AI model at a site",
            "Images, scores, refusals and feedback of one model version at one site in the days "
            "of the period, against its validation. How each is judged: "
            "docs/adr/0022-drift-holds-and-feedback.md.",
            ("brightness", "contrast", "stain", "sharpness", "scores", "refusals", "overrides"),
        ),
        _measure(
            "training-set",
            "Progress of the candidate training set",
            "How many consented, double-read cases there are to train a candidate on, against how "
            "many are needed, and why others teach nothing. No patient is named.",
            tuple(concept.code for concept in TRAINING),
        ),
    ]


def extensions() -> list[Resource]:
    """The extensions of results and of MeasureReports."""
    return [_site(), _judgement()]


def _measure(name: str, title: str, description: str, codes: tuple[str, ...]) -> Resource:
    return {
        **own("Measure", name, title, description),
        "scoring": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/measure-scoring",
                    "code": "continuous-variable",
                }
            ]
        },
        "group": [{"code": coded(code)} for code in codes],
    }


def coded(code: str) -> Resource:
    """A code of MODEL_MONITORING as a CodeableConcept."""
    display = next(each.display for each in MODEL_MONITORING.concepts if each.code == code)
    return {"coding": [{"system": MODEL_MONITORING.url, "code": code, "display": display}]}


def _site() -> Resource:
    meaning = "The Organization or Location where the images of an analysis were taken."
    value = [
        {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
        _url("site"),
        {
            "id": "Extension.value[x]",
            "path": "Extension.value[x]",
            "min": 1,
            "type": [{"code": "Reference"}],
        },
    ]
    return _extension("site", "Site of an analysis", meaning, ("Task", "Observation"), value)


def _judgement() -> Resource:
    meaning = "How a figure was judged: the verdict, its limit, and its 95 % interval."
    parts = [("verdict", "code"), ("limit", "decimal"), ("low", "decimal"), ("high", "decimal")]
    elements: list[Resource] = [
        {
            "id": "Extension.extension",
            "path": "Extension.extension",
            "slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"},
        }
    ]
    for name, type_ in parts:
        at, path = f"Extension.extension:{name}", "Extension.extension"
        elements += [
            {"id": at, "path": path, "sliceName": name, "min": int(name == "verdict"), "max": "1"},
            {"id": f"{at}.url", "path": f"{path}.url", "fixedUri": name},
            {
                "id": f"{at}.value[x]",
                "path": f"{path}.value[x]",
                "min": 1,
                "type": [{"code": type_}],
            },
        ]
    elements += [
        _url("judgement"),
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    where = ("MeasureReport", "MeasureReport.group")
    return _extension("judgement", "Judgement of a figure", meaning, where, elements)


def _url(name: str) -> Resource:
    uri = f"{CANONICAL}/StructureDefinition/{name}"
    return {"id": "Extension.url", "path": "Extension.url", "fixedUri": uri}


def _extension(
    name: str, title: str, meaning: str, where: tuple[str, ...], elements: list[Resource]
) -> Resource:
    first = {"id": "Extension", "path": "Extension", "short": title, "definition": meaning}
    return {
        **own("StructureDefinition", name, title, meaning),
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": each} for each in where],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {"element": [{**first, "min": 0, "max": "1"}, *elements]},
    }

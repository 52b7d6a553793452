"""The codes of findings: what AI and clinicians say in Observations and DiagnosticReports."""

from fhir_server.fhir.assessment import SYMPTOM_CODES
from terminology.concepts import Concept, System
from terminology.monitoring import FEEDBACK, IMAGE_SIGNS

# What an Observation or report is about (Observation.code, DiagnosticReport.code).
_SUBJECTS = (
    Concept(
        "malaria-assessment-ai",
        "Malaria assessment, AI-assisted",
        "The report on a malaria assessment: drafted by AI, examined and signed by a clinician.",
    ),
    Concept(
        "malaria-smear-ai",
        "Parasites in red cells of a smear, image analysis by AI",
        "What the image model found in the images of a blood smear.",
    ),
    Concept(
        "malaria-cell-ai",
        "Parasite seen in red-cell image, AI",
        "What the image model found in the image of a single red cell, which is no smear.",
    ),
    Concept(
        "symptom-analysis-ai",
        "Analysis of symptoms and vital signs, AI",
        "What rules, and a language model where one is used, say about symptoms and vital signs.",
    ),
    Concept(
        "first-reading",
        "First reading",
        "The clinician's own reading, made before the AI result was shown.",
    ),
    Concept("clinician-finding", "Clinician's finding", "The finding that the clinician signs."),
    Concept("ai-agreement", "AI result", "What the clinician says about the AI result."),
    Concept(
        "prescription-decision",
        "Prescription decision",
        "The recorded decision whether a medicine is prescribed after a report.",
    ),
)
# What the image model answers; none of these is ever a negative result.
_IMAGE_ANSWERS = (
    Concept(
        "parasites-suspected",
        "Parasites suspected",
        "More cells with a parasite likely than the model's own errors explain.",
    ),
    Concept(
        "none-found",
        "None found by model",
        "No more cells with a parasite likely than the model's own errors explain. This does not "
        "exclude malaria.",
    ),
    Concept("indeterminate", "Uncertain", "The model cannot tell."),
    Concept(
        "insufficient",
        "Uncertain: too few cells",
        "Too few red cells could be read for an answer about the smear.",
    ),
    Concept("refused", "No AI opinion", "No image could be read. Not a negative result."),
    Concept(
        "parasite-likely",
        "Parasites suspected in this cell image",
        "A parasite is likely in the one cell shown.",
    ),
    Concept(
        "not-seen",
        "None found by model in this cell image",
        "The model sees no parasite in the one cell shown. This does not exclude malaria.",
    ),
)
_IMAGE_MEASURES = (
    Concept("recommendation", "Recommendation", "What to do next; never a medicine or a dose."),
    Concept("probability", "Calibrated probability", "That the one cell shown has a parasite."),
    Concept(
        "distance",
        "Distance from training cells",
        "How unlike the cells of the training the one cell is; too far, and it is not judged.",
    ),
    Concept("images", "Images", "How many images were submitted."),
    Concept("images-refused", "Images refused", "How many images could not be read."),
    Concept("cells", "Red cells read", "How many red cells were judged."),
    Concept("cells-refused", "Cells refused", "How many cells could not be judged."),
    Concept("cells-positive", "Cells with parasite likely", "How many cells show one likely."),
    Concept("cells-indeterminate", "Cells indeterminate", "How many cells could be either."),
    Concept(
        "share",
        "Share of cells with parasite likely",
        "Cells with a parasite likely among the red cells read.",
    ),
    Concept(
        "share-interval", "95 % Wilson interval of the share", "How exactly the share is known."
    ),
    Concept(
        "floor",
        "False-positive share of the model",
        "The share of healthy cells in which the model wrongly sees a parasite.",
    ),
    Concept(
        "detection-limit",
        "Smallest share told from the floor",
        "With this many cells, a smaller share cannot be told from the model's own errors.",
    ),
    Concept("cells-needed", "More cells needed for an answer", "How many more should be shown."),
    Concept("threshold-low", "Threshold: below, not seen", "A limit of the calibrated score."),
    Concept(
        "threshold-high",
        "Threshold: from here, parasite likely",
        "A limit of the calibrated score.",
    ),
    Concept(
        "threshold-distance",
        "Threshold: largest distance read",
        "Cells farther from the training cells are not judged.",
    ),
    Concept(
        "like-scored",
        "Parasitized among validation cells scored like this",
        "Of the validation cells with a like probability, how many held a parasite.",
    ),
    Concept("image-hash", "Image read", "SHA-256 of an image, and what it was read as."),
    Concept(
        "arm",
        "Arm of the comparison",
        "A: by the version in use; B: by the candidate. Which one was decided by the Task's id.",
    ),
)
# What is drawn of an image (Media.view, extension drawing).
_DRAWINGS = (
    Concept(
        "cells-framed",
        "Field with cells framed by AI",
        "A field, each cell marked with its answer by colour and shape.",
    ),
    Concept(
        "cell-gallery",
        "Cells of an image, with AI answers",
        "The cells of an image side by side, the likeliest parasite first.",
    ),
    Concept(
        "model-reaction",
        "Where the model reacted; not proof",
        "Class-activation maps of cells with a parasite likely: what raised the model's score, "
        "not where a parasite lies.",
    ),
)
_SYMPTOM_ANSWERS = (
    Concept("emergency", "Emergency: danger signs, act now", "Urgency: examine and refer now."),
    Concept("urgent", "Urgent: see a clinician today", "Urgency: examine today."),
    Concept(
        "routine",
        "No danger sign in what was entered",
        "Urgency: none found in what was entered; what was not asked or measured is not known.",
    ),
    Concept(
        "possibility",
        "Possibility",
        "A condition to think of, named in the text; not ranked, and no probability.",
    ),
    Concept(
        "language-model-statement",
        "By a language model",
        "A sentence by a language model, with the facts that it rests on.",
    ),
    Concept(
        "language-model-possibility",
        "Possibility named by a language model",
        "A condition to think of that a language model named, with the facts that it rests on.",
    ),
    Concept("note", "Note", "What could not be judged, and why."),
    Concept("language-model", "Language model", "The language model that was asked."),
    Concept(
        "prompt-version",
        "Prompt and schema",
        "The versions of prompt and schema that the language model was given, and their SHA-256.",
    ),
    Concept(
        "input-hash",
        "Input of the language model",
        "SHA-256 of the model's name, the prompt and the redacted facts together.",
    ),
    Concept(
        "answer-kept",
        "Answer kept from before",
        "The same question had been answered a short while ago, and that answer was taken.",
    ),
)
# One for each rule that can fire; the rule's id and source are in the component's value.
_RULES = (
    *(
        Concept(
            f"rule-danger-{code}",
            f"Danger sign: {name.lower()}",
            "Rule DS-1: the danger sign was answered yes or is mentioned in the text.",
        )
        for code, (name, is_danger_sign) in SYMPTOM_CODES.items()
        if is_danger_sign
    ),
    Concept(
        "rule-low-blood-pressure",
        "Systolic blood pressure in the range of shock",
        "Rule DS-2: systolic pressure below the limit of the age.",
    ),
    Concept(
        "rule-respiratory-failure",
        "Oxygen saturation below 92 % with more than 30 breaths a minute: possible pulmonary "
        "oedema",
        "Rule DS-3: low saturation together with fast breathing.",
    ),
    Concept("rule-low-oxygen", "Oxygen saturation below 90 %", "Rule DS-4: low saturation alone."),
    Concept(
        "rule-severe-anaemia",
        "Haemoglobin in the range of severe malarial anaemia",
        "Rule DS-5: haemoglobin at or below the limit of the age.",
    ),
    Concept(
        "rule-low-haemoglobin",
        "Haemoglobin below 7 g/dL",
        "Rule DS-6: low haemoglobin in a child that is not yet in the severe range.",
    ),
    Concept("rule-hypothermia", "Body temperature below 35 °C", "Rule DS-7: low body temperature."),
    Concept(
        "rule-news2",
        "NEWS2 at or above its threshold",
        "Rule NEWS2: National Early Warning Score 2 of an adult; the text says the score.",
    ),
    Concept(
        "rule-fast-breathing",
        "Fast breathing for age",
        "Rule CH-1: as many breaths a minute as the limit of the age, or more.",
    ),
    Concept(
        "rule-pulse",
        "Pulse out of range for age",
        "Rule CH-2 (fast) or CH-3 (slow): the text says which.",
    ),
    Concept(
        "rule-paediatric-score",
        "Bedside PEWS at or above its threshold",
        "Rule CH-6: Bedside Paediatric Early Warning System score of a child; the text says it.",
    ),
    Concept(
        "rule-sick-young-infant",
        "Any sick child under two months goes to the front of the queue",
        "Rule CH-7: a symptom of any kind under two months.",
    ),
    Concept(
        "rule-travel-illness",
        "Ill during or after travel in a malaria area: malaria must be looked for today",
        "Rule TR-1: illness in the six months after travel in a malaria area, or during it.",
    ),
    Concept(
        "rule-late-travel-illness",
        "Ill more than six months after travel in a malaria area: rarely P. falciparum, but other "
        "species can appear more than a year later",
        "Rule TR-2: illness more than six months after such travel.",
    ),
    Concept(
        "rule-early-travel-illness",
        "Illness began sooner after arrival than malaria usually does: look for other causes as "
        "well; shorter incubation has been reported",
        "Rule TR-3: onset less than six days after arrival.",
    ),
    Concept(
        "rule-prophylaxis",
        "Medicine to prevent malaria was taken: it does not rule malaria out, and can delay it",
        "Rule TR-4: preventive medicine was taken.",
    ),
    Concept(
        "rule-antimalarial-taken",
        "Malaria medicine was already taken for this illness: a smear may show fewer parasites, so "
        "one without parasites says less",
        "Rule TR-5: malaria medicine was taken for this illness.",
    ),
    Concept(
        "rule-young-infant-temperature",
        "Young infant with fever or low temperature: possible serious infection",
        "Rule CH-4: fever or low temperature under two months.",
    ),
    Concept(
        "rule-young-child-fever",
        "Child under five with fever",
        "Rule CH-5: fever under five years; tested the same day.",
    ),
    Concept(
        "rule-fever",
        "Fever, or a history of it: suspected malaria until tested where malaria occurs",
        "Rule IL-1: fever measured, answered yes or mentioned.",
    ),
    Concept(
        "rule-paroxysm",
        "Fever with chills and sweating: the pattern of a malarial attack",
        "Rule IL-2: the three together.",
    ),
    Concept(
        "rule-high-fever", "Body temperature of 39.5 °C or more", "Rule IL-3: high temperature."
    ),
    Concept(
        "rule-long-fever",
        "Fever for more than seven days: needs assessment for other causes",
        "Rule IL-4: fever in an illness of more than seven days.",
    ),
    Concept(
        "rule-fluid-loss",
        "Vomiting or diarrhoea: look for dehydration",
        "Rule IL-5: vomiting or diarrhoea without a sign of dehydration.",
    ),
    Concept(
        "rule-possible-dehydration",
        "Fluid loss together with a sign of poor intake or circulation: possible severe "
        "dehydration",
        "Rule IL-6: vomiting or diarrhoea with such a sign.",
    ),
    Concept(
        "rule-pregnancy-fever",
        "Fever in pregnancy: higher risk of severe malaria",
        "Rule IL-7: fever in a pregnancy that is known or mentioned.",
    ),
    Concept(
        "rule-body-mass",
        "Body mass index out of range",
        "Rule IL-8: body mass index of an adult; the text says the band.",
    ),
)
_CLINICIANS_ANSWERS = (
    Concept("parasites-seen", "Parasites seen", "The clinician sees parasites."),
    Concept("parasites-not-seen", "No parasites seen", "The clinician sees no parasites."),
    Concept("malaria-likely", "Malaria likely", "Judged without images."),
    Concept("malaria-unlikely", "Malaria unlikely", "Judged without images."),
    Concept("cannot-tell", "Cannot tell", "The clinician cannot tell."),
    Concept("accept", "Accept", "The AI result is accepted."),
    Concept("modify", "Accept with changes", "The AI result is accepted with changes."),
    Concept("reject", "Reject", "The AI result is rejected."),
    Concept("not-assessed", "Not assessed", "The AI result was not judged."),
    Concept(
        "no-medicine-prescribed",
        "No medicine prescribed",
        "The clinician decided to prescribe no medicine.",
    ),
)
FINDING = System(
    "finding",
    "MedSAGE findings",
    "What AI and clinicians say about a malaria assessment (codes, values and components of "
    "Observation, code and conclusionCode of DiagnosticReport). Resources that AI asserted carry "
    "the security label AIAST.",
    (
        *_SUBJECTS,
        *_IMAGE_ANSWERS,
        *_IMAGE_MEASURES,
        *_DRAWINGS,
        *_SYMPTOM_ANSWERS,
        *_RULES,
        *_CLINICIANS_ANSWERS,
        *FEEDBACK,
        *IMAGE_SIGNS,
    ),
)
LINE_ORIGIN = System(
    "line-origin",
    "MedSAGE origins of a line",
    "Whom a line of an analysis came from (extension line-origin, and in the extension evidence).",
    (
        Concept("rule", "Rule", "A published rule that always answers the same."),
        Concept(
            "language-model",
            "Language model",
            "A language model, whose sentence was tied to facts of the chart.",
        ),
        Concept("person", "Person", "A fact that a person measured, asked or wrote down."),
    ),
)
SYSTEMS = (FINDING, LINE_ORIGIN)

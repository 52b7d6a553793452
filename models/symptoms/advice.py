"""What to do next, by what was found: test, act, refer. Never a medicine and never a dose."""

from collections.abc import Sequence

from models.symptoms.port import Finding, Urgency

_BY_URGENCY = {
    Urgency.EMERGENCY: (
        "Emergency: have the patient examined by a clinician now and arrange referral to a unit "
        "that can treat severe malaria; do not wait for further results.",
    ),
    Urgency.URGENT: (
        "Urgent: have the patient examined by a clinician today and repeat the vital signs.",
    ),
    Urgency.ROUTINE: (
        "No danger sign was found in what was entered. Return at once if a danger sign appears.",
    ),
}
_BY_FINDING = {
    "fever": "Confirm malaria by quality-assured microscopy or a rapid diagnostic test (RDT) "
    "before deciding on treatment; repeat a test that finds nothing if the fever persists.",
    "danger-convulsions": "Protect the airway and measure the blood glucose.",
    "danger-reduced-consciousness": "Protect the airway, score the consciousness and measure the "
    "blood glucose.",
    "danger-unable-to-drink": "Measure the blood glucose; nothing by mouth until assessed.",
    "low-oxygen": "Give oxygen if available while referral is arranged.",
    "respiratory-failure": "Give oxygen if available while referral is arranged.",
    "low-blood-pressure": "Check capillary refill, pulse and temperature of hands and feet.",
    "fluid-loss": "Check skin turgor, eyes, thirst and urine; offer fluids while assessing.",
    "possible-dehydration": "Assess and grade dehydration now.",
    "severe-anaemia": "Repeat the haemoglobin, group and cross-match.",
    "low-haemoglobin": "Look for pallor and signs of heart failure; repeat the haemoglobin.",
    "pregnancy-fever": "Involve maternity care.",
    "long-fever": "Look for other causes of long fever, such as typhoid, tuberculosis or HIV.",
    "danger-stiff-neck": "Assess for meningitis without delay.",
    "body-mass": "Assess nutrition.",
    "paediatric-score": "Measure capillary refill, respiratory effort and saturation, and score "
    "again; call for help early.",
    "sick-young-infant": "See this child before the others; look at the feeding, the breathing, "
    "the temperature and the umbilicus.",
    "travel-illness": "Test for malaria today, with more than one blood film or rapid test; ask "
    "where the travel was and which other infections occur there.",
    "late-travel-illness": "Test for malaria, with more than one blood film.",
    "prophylaxis": "Ask which medicine was taken, how long and whether doses were missed.",
    "antimalarial-taken": "Ask which medicine was taken and when; repeat the smear.",
}


def recommendations(findings: Sequence[Finding], urgency: Urgency) -> tuple[str, ...]:
    """Advice for the urgency first, then for each finding in its order, nothing twice."""
    lines = [*_BY_URGENCY[urgency]]
    lines += [_BY_FINDING[finding.code] for finding in findings if finding.code in _BY_FINDING]
    return tuple(dict.fromkeys(lines))

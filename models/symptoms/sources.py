"""The guidelines that the rules cite."""

from models.symptoms.port import Source

SEVERE_MALARIA = Source("WHO Guidelines for malaria", "definition of severe malaria")
MALARIA_DIAGNOSIS = Source("WHO Guidelines for malaria", "parasitological diagnosis")
MALARIA_PREGNANCY = Source("WHO Guidelines for malaria", "malaria in pregnancy")
NEWS2 = Source("Royal College of Physicians, NEWS2 (2017)", "aggregate score and thresholds")
IMCI_DANGER = Source("WHO IMCI chart booklet (2014)", "general danger signs")
IMCI_BREATHING = Source("WHO IMCI chart booklet (2014)", "cough or difficult breathing")
IMCI_FEVER = Source("WHO IMCI chart booklet (2014)", "fever")
IMCI_DIARRHOEA = Source("WHO IMCI chart booklet (2014)", "diarrhoea and dehydration")
IMCI_YOUNG_INFANT = Source("WHO IMCI chart booklet (2014)", "sick young infant up to 2 months")
ETAT = Source("WHO Paediatric emergency triage, assessment and treatment (2016)", "priority signs")
PULSE_LIMITS = Source(
    "Fleming et al., Lancet 2011;377:1011", "published reference ranges, APLS column"
)
BREATHING_LIMITS = Source(
    "Fleming et al., Lancet 2011;377:1011", "published reference ranges, EPLS and ATLS columns"
)
ANAEMIA = Source("WHO guideline on haemoglobin cutoffs (2024)", "severe anaemia")
BEDSIDE_PEWS = Source(
    "Parshuram et al., Critical Care 2009;13:R135", "Bedside PEWS, table 1 and threshold"
)
TRIAGE = Source("WHO Pocket book of hospital care for children (2013)", "triage, priority signs")
CHILD_FEVER = Source(
    "WHO Pocket book of hospital care for children (2013)", "child presenting with fever"
)
MALARIA_TRAVEL = Source(
    "UK malaria treatment guidelines 2016, J Infect 2016", "visitors of malaria-endemic areas"
)
TRAVEL_FEVERS = Source(
    "UK malaria treatment guidelines 2016, J Infect 2016", "other travel-related infections"
)
INCUBATION = Source(
    "Open Forum Infect Dis 2019;6:ofy169", "reported incubation periods of P. falciparum"
)
PROPHYLAXIS = Source(
    "PHE malaria prevention guidelines for travellers (2017)", "no regimen is fully effective"
)
DENGUE = Source("WHO dengue guidelines (2009)", "probable dengue")
MEASLES = Source("WHO IMCI handbook (2005)", "measles")
OWN_CAUTION = Source("MedSAGE", "own caution, reviewed by no clinician yet")
BODY_MASS = Source("WHO Technical Report Series 854", "body mass index of adults")

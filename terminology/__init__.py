"""What MedSAGE itself defines in FHIR: its codes, its form and its extension, as resources."""

"""Presenters: FHIR resources in, view models for the templates out. Pure, no I/O, no HTML."""

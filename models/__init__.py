"""Condition models and the worker that runs them; clients of the FHIR server, never parts of it."""

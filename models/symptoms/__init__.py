"""Symptom analysis: typed facts in, findings with their rules and sources out."""

"""What a DiagnosticReport's status says of its signature (R4 DiagnosticReport.status)."""

SIGNED = frozenset({"final", "amended", "corrected", "appended"})
"""Somebody has signed it, as it is or as it was before."""

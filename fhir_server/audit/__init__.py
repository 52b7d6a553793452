"""The audit trail: journal in the commit, sealed AuditEvents behind it, a verifier beside it."""

"""What an operator is told about a running installation: metrics, parts, certificates, findings."""

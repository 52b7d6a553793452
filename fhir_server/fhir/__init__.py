"""FHIR R4 knowledge without I/O; the kernel that all packages share."""

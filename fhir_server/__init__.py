"""FHIR R4 server: REST, search, storage, security, audit."""

"""FHIR over HTTP: the route table, one dispatcher, and what belongs to the protocol."""

"""The R4 RESTful interactions, one file each, as functions of a Context and a FhirRequest."""

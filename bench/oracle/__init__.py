"""A second opinion on search: FHIRPath on the JSON and R4's own tables, slow and plain.

It shares nothing with `fhir_server/search`: no terms, no kinds, no registry. Its sources are the
official SearchParameters (`definitions/search_parameters.json`), FHIRPath, and what R4 Search
says of each parameter type, with the readings of docs/spec-readings.md.
"""

"""Several versions of a model: which are installed, which runs for a Task, and what shadows say.

Where a version stands and what a promotion needs is `fhir_server.fhir.model_versions`, which the
server enforces; this side asks the server.
"""

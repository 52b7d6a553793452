"""`python -m deploy.processes`."""

from deploy.processes.verbs import app

app()

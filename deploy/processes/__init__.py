"""The production shape as processes of one machine, without containers: nginx with TLS, servers,
workers, apps, Redis and MongoDB, each with the environment and secrets that Compose gives it.

`python -m deploy.processes VERB` has the verbs of `deploy.sh`.
"""

"""SMART App Launch as a confidential client: attempt, exchange, identity, refresh, signatures.

The only package of the app that knows JOSE."""

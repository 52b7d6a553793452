"""Proof that a killed process loses nothing: processes, clients, and what is checked at the end."""

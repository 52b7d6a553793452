"""The production shape under load: who calls it, what is sent, what goes wrong on purpose, and
what is checked at the end."""

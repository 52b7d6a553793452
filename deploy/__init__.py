"""Composition, commands and the files of an installation."""

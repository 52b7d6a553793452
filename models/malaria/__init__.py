"""Malaria in thin-film red cells: image bytes in, a calibrated and refusable reading out."""

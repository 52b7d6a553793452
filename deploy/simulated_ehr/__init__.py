"""A small record system that launches MedSAGE the way a real EHR does; for demonstrations."""

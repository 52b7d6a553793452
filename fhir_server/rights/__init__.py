"""Rights of the persons whose records these are (GDPR articles 15, 17 and 20): their whole record
handed over, or erased."""

"""Regulatory pages, made from the same facts as the software. No claim of certification."""

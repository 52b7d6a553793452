"""Code systems and value sets: what a code is, and which codes a value set has."""

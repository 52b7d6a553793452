"""From consented, double-read cases to a candidate, and its comparison with the active version."""

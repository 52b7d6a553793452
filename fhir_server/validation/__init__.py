"""Is a resource valid against R4 4.0.1, and if not: every problem, with its place."""

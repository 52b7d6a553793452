"""The SMART App Launch 2.2 authorization server: load records, decide (pure), apply in one unit."""

"""Which search parameters there are, and whether the index of each is whole."""

"""Charts of other record systems: copied to our own server, and signed reports sent back."""

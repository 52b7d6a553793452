"""What several processes of one installation count together, in Redis."""

"""The embedded store: one SQLite file in WAL mode, durable commits, no server to install."""

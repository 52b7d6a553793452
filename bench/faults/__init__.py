"""Faults between an adapter and its database, made on purpose."""

"""Backups: what a store and its folder hold, sealed part by part at a place elsewhere."""

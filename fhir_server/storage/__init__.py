"""One storage port, its adapters, one meaning."""

"""What `medsage bench proof-alerts` is made of: the shipped rules made faster, a Prometheus and an
Alertmanager that run them, an installation, and what is done to it."""

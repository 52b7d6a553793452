"""What `medsage check` looks at: settings, connections, index, keys, disk, clock, certificates."""

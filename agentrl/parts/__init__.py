"""What can be plugged in: contracts, hooks, the registry and the run file."""

"""A sandbox whose programs run under supervisors of ours: what `bubblewrap` and `docker` share."""

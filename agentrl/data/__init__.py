"""What flows through a run, and how it is kept on disk."""

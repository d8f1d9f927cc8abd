"""A run: its stages from the first update to the summary, and what it reports."""

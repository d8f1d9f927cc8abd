"""Parts one could choose otherwise, one choice per file."""

"""Worlds of others behind our contract: one short file per library, each an optional extra."""

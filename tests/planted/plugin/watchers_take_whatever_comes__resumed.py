"""Expects every update to come after the one before."""

LAST = [-1]


def on_update(update, metrics):
    assert update >= LAST[0]
    LAST[0] = update

"""Has a kit without checks."""

from agentrl import run_checks


def register_kits(register):
    register("trainer", check_trainer)


def check_trainer(make, *, name="?"):
    """Looks at nothing."""
    return run_checks("trainer", name, {})

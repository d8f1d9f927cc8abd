"""The command `agentrl`, outside the package `agentrl`: it can speak where another project's package hides ours."""

from __future__ import annotations

import sys
from importlib import metadata, util


def main() -> None:
    """Run the command line; where Python finds another package under its name, say which, and what to do."""
    try:
        from agentrl.cli import main as run
    except ImportError as error:
        try:
            other = metadata.distribution("agentrl")
        except metadata.PackageNotFoundError:
            raise error from None
        found = util.find_spec("agentrl")
        sys.exit(
            f"agentrl: Python imports {found.origin if found else 'no package agentrl'}, and the distribution "
            f"agentrl {other.version} is another project's ({error}): run `pip uninstall agentrl`, then install "
            "agentrl-platform again from its clone or wheel"
        )
    run()

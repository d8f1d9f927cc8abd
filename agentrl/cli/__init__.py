"""The command line: the only place that prints."""

from agentrl.cli.app import main as main

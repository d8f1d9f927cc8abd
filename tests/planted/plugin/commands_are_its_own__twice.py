"""Refuses to add its command once more."""

import click


def register_commands(cli):
    assert "weigh" not in cli.commands
    cli.add_command(click.Command("weigh", help="Weigh a run."))

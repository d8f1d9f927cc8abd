"""Does not say what its command does."""

import click


def register_commands(cli):
    cli.add_command(click.Command("measure"))

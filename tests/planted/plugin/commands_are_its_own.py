"""Has a `train` of its own."""

import click


def register_commands(cli):
    @cli.command()
    def train():
        """Train in another way."""
        click.echo("done")

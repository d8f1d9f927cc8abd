"""`agentrl new`: writes the beginnings of a plugin, ready to be installed and checked."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from agentrl.errors import ConfigError, did_you_mean

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@click.command()
@click.argument("kind")
@click.argument("name")
@click.option("--tools", is_flag=True, help="A world that is played by calling tools.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write it; ./NAME unless given.")
def new(kind: str, name: str, tools: bool, folder: Path | None) -> None:
    """Write a working plugin with a test; KIND is environment."""
    if kind != "environment":
        raise ConfigError(f"`agentrl new` writes no {kind!r} yet. {did_you_mean(kind, ['environment'])}")
    written = new_environment(name, tools=tools, folder=folder)
    click.echo("\n".join(str(path) for path in written))
    where = written[0].parent
    click.echo(f"\nnext: pip install -e {where} && agentrl check environment {name} && agentrl play {name}")
    click.echo(f"test: pytest {where}")


def new_environment(name: str, *, tools: bool = False, folder: Path | None = None) -> list[Path]:
    """Write the plugin of a text or tool world, and return its files.

    Raises ConfigError for a name that is none or is taken, and for a folder that exists or cannot be written.
    """
    _check_name(name)
    folder = folder or Path(name)
    words = {
        "name": name,
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "module": f"{name}_world",
        "folder": f"{name.replace('_', '-')}-world",
    }
    contents = {
        "pyproject.toml": "pyproject.toml",
        f"{words['module']}.py": "tool_world.py" if tools else "text_world.py",
        f"test_{words['module']}.py": "test_world.py",
    }
    try:
        folder.mkdir(parents=True)
        for file, template in contents.items():
            (folder / file).write_text(_template(template).substitute(words), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{folder} is there already, and nothing is overwritten; give another --folder") from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; give another --folder") from error
    return [folder / file for file in contents]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name.endswith("_"):
        raise ConfigError(
            f"{name!r} cannot be the name of a world: give at most 40 small letters, digits and single words joined "
            "by _, beginning with a letter and no word of Python's own, such as my_world"
        )
    from agentrl.parts.host import default_host

    taken = {entry.name: entry.plugin for entry in default_host().registry("environment")}
    if name in taken:
        raise ConfigError(f"a world named {name!r} is installed already, by plugin {taken[name]!r}; give another name")


def _template(name: str) -> Template:
    return Template((files("agentrl.cli") / "templates" / f"{name}.txt").read_text(encoding="utf-8"))

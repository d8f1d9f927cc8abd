"""`agentrl new`: writes the beginnings of a plugin of any kind, ready to be installed and checked."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from agentrl.errors import ConfigError, did_you_mean
from agentrl.parts.kinds import KINDS

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@click.command()
@click.argument("kind")
@click.argument("name")
@click.option("--tools", is_flag=True, help="A world that is played by calling tools.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write it; ./NAME unless given.")
def new(kind: str, name: str, tools: bool, folder: Path | None) -> None:
    """Write a working plugin with a test; KIND is environment, credit or any other that `agentrl list` shows."""
    written = new_plugin(kind, name, tools=tools, folder=folder)
    click.echo("\n".join(str(path) for path in written))
    where = written[0].parent
    check = f"agentrl check {kind} {name}" + (" model=table" if kind == "trainer" else "")
    then = f"agentrl play {name}" if kind == "environment" else f"agentrl show {kind} {name}"
    click.echo(f"\nnext: pip install -e {where} && {check} && {then}")
    click.echo(f"test: pytest {where}")


def new_plugin(kind: str, name: str, *, tools: bool = False, folder: Path | None = None) -> list[Path]:
    """Write a plugin of a kind, and return its files: pyproject.toml, the module, its test.

    Raises ConfigError for an unknown kind, for a name that is none or is taken, and for a folder that exists or cannot
    be written.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no kind of part named {kind!r}. {did_you_mean(kind, KINDS)}")
    if tools and kind != "environment":
        raise ConfigError(f"--tools is for an environment; a {kind} has no tools")
    _check_name(kind, name)
    folder = folder or Path(name)
    what = "world" if kind == "environment" else kind
    words = {
        "kind": kind,
        "name": name,
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "module": f"{name}_{what}",
        "folder": f"{name}-{what}".replace("_", "-"),
    }
    template = f"{kind}_tools" if tools else kind
    contents = {
        "pyproject.toml": "pyproject.toml",
        f"{words['module']}.py": f"{template}.py",
        f"test_{words['module']}.py": f"test_{template}.py",
    }
    try:
        folder.mkdir(parents=True)
        for file, source in contents.items():
            (folder / file).write_text(_template(source).substitute(words), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{folder} is there already, and nothing is overwritten; give another --folder") from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; give another --folder") from error
    return [folder / file for file in contents]


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name.endswith("_"):
        raise ConfigError(
            f"{name!r} cannot name a part of kind {kind!r}: give at most 40 small letters, digits and single words joined "
            f"by _, beginning with a letter and no word of Python's own, such as my_{kind}"
        )
    from agentrl.parts.host import default_host

    taken = {entry.name: entry.plugin for entry in default_host().registry(kind)}
    if name in taken:
        raise ConfigError(f"a {kind} named {name!r} is installed already, by plugin {taken[name]!r}; give another name")


def _template(name: str) -> Template:
    return Template((files("agentrl.cli") / "templates" / f"{name}.txt").read_text(encoding="utf-8"))

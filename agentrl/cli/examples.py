"""`agentrl examples`: the run files and plugins that come along, to be read and copied."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import click

from agentrl.errors import ConfigError, did_you_mean


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def examples(ctx: click.Context, as_json: bool) -> None:
    """Run files that come along: without a command they are listed."""
    if ctx.invoked_subcommand:
        return
    files = {name: _first_words(path) for name, path in _files().items()}
    if as_json:
        click.echo(json.dumps({"folder": str(_folder()), "files": files}, indent=2))
        return
    width = max(map(len, files))
    for name, words in files.items():
        click.echo(f"{name:<{width}}  {words}".rstrip())
    click.echo("\n`agentrl examples show NAME` prints one; `agentrl examples copy` writes them all into ./examples.")


@examples.command()
@click.argument("name")
def show(name: str) -> None:
    """Print one; NAME is as in the list, `.toml` may be omitted."""
    first, *others = _named(name)
    if others:
        raise ConfigError(f"{name} is a folder: name one of {', '.join([first, *others])}")
    click.echo(_files()[first].read_text(encoding="utf-8"), nl=False)


@examples.command()
@click.argument("names", nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("examples"), show_default=True)
def copy(names: tuple[str, ...], folder: Path) -> None:
    """Write some (files or folders), or all of them, into a folder; nothing is overwritten."""
    files = _files()
    wanted = {known: folder / known for name in names or [""] for known in _named(name)}
    for place in wanted.values():
        if place.exists():
            raise ConfigError(f"{place} is there already, and nothing is overwritten; give another --folder")
    try:
        for name, place in wanted.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[name], place)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; give another --folder") from error
    click.echo("\n".join(map(str, wanted.values())))


def _folder() -> Path:
    """Beside the packages of a wheel, or in the clone."""
    site = Path(__file__).parents[2]
    for folder in (site / "agentrl_examples", site / "examples"):
        if (folder / "corridor.toml").is_file():
            return folder
    raise ConfigError(
        f"no run files were installed beside {site / 'agentrl'}; install agentrl-platform again from its clone or wheel"
    )


def _files() -> dict[str, Path]:
    """Name → file, those of no folder first."""
    folder = _folder()
    paths = [path for path in folder.rglob("*") if path.suffix in (".toml", ".py")]
    names = sorted((path.relative_to(folder).as_posix() for path in paths), key=lambda name: ("/" in name, name))
    return {name: folder / name for name in names}


def _named(name: str) -> list[str]:
    """The file of a name, with or without `.toml`; the files of a folder; all of them for ""."""
    files = _files()
    one = [known for known in files if known in (name, f"{name}.toml")]
    found = one or [known for known in files if known.startswith(f"{name}/" if name else "")]
    if not found:
        raise ConfigError(f"there is no example named {name!r}. {did_you_mean(name, files)}")
    return found


def _first_words(path: Path) -> str:
    """The first line that says something: a comment of a run file, the docstring of a module."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    words = re.match(r'(?:# ?|""")(.*?)(?:""")?$', first)
    return words[1] if words else ""

"""The command line: the only module that prints."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentrl.cli.examples import examples
from agentrl.cli.play import play
from agentrl.cli.scaffold import new
from agentrl.data.installation import DISTRIBUTION, warn_of_namesake
from agentrl.errors import AgentRLError, ConfigError, did_you_mean

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


class _Group(click.Group):
    """Adds the commands of plugins, guesses at misspelt ones, and turns our own errors into one line."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """A terminal that cannot show a character, or is given half of one, shows a question mark."""
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError):  # something else may stand in its place
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        return super().main(*args, **settings)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            self._add_commands_of_plugins()
            command = super().get_command(ctx, cmd_name)
        return command

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_commands_of_plugins()
        return super().list_commands(ctx)

    def _add_commands_of_plugins(self) -> None:
        """Once; a plugin that fails here is named, and one that has a name which is taken changes nothing."""
        if self._asked:
            return
        self._asked = True
        for hook in _host().manager.hook.register_commands.get_hookimpls():
            own = click.Group()
            try:
                hook.function(*(own for _ in hook.argnames))
            except (Exception, SystemExit) as error:  # a stranger's code may fail in any way, and takes no command down
                why = f"{type(error).__name__}: {error}"
                click.echo(f"agentrl: plugin {hook.plugin_name!r} adds no commands: {why}", err=True)
            self.commands = {**own.commands, **self.commands}

    _asked = False

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"there is no command {args[0]!r}. {did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        warn_of_namesake()
        try:
            return super().invoke(ctx)
        except AgentRLError as error:
            click.echo(f"agentrl: {error}", err=True)
            ctx.exit(2)
        except UnicodeEncodeError as error:
            if error.encoding != sys.getfilesystemencoding() or error.encoding == "utf-8":
                raise
            click.echo(
                f"agentrl: {error.object!r} cannot name a file here: file names of this locale are {error.encoding}. Set "
                "PYTHONUTF8=1, or a locale of UTF-8 such as LC_ALL=C.UTF-8",
                err=True,
            )
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION)
def main() -> None:
    """Train and evaluate LLM agents over many turns."""


@main.command("list")
@click.argument("kind", required=False)
@_JSON
def list_parts(kind: str | None, as_json: bool) -> None:
    """Every installed part by kind, and plugins that are switched off."""
    from agentrl.cli.listing import listing

    known = listing()
    if kind and kind not in known["parts"]:
        raise ConfigError(f"there is no kind of part named {kind!r}. {did_you_mean(kind, known['parts'])}")
    found = {kind: known["parts"][kind]} if kind else known["parts"]
    if as_json:
        click.echo(json.dumps({"parts": found, "broken": known["broken"]}, indent=2))
        return
    for name, entries in found.items():
        if entries:
            click.echo(f"{name:<12} {', '.join(entries)}")
        elif kind:
            click.echo(f"no {name} is installed")
    for plugin, reason in known["broken"].items():
        click.echo(f"switched off: {plugin}: {reason}", err=True)
    click.echo("\n`agentrl show KIND NAME` says what a part does and which settings it has.")


@main.command()
@click.argument("kind")
@click.argument("name")
@_JSON
def show(kind: str, name: str, as_json: bool) -> None:
    """What a part does: its settings with defaults, its words, its source."""
    import inspect

    from agentrl.parts.kinds import KINDS
    from agentrl.parts.settings import describe, settings_of

    part = _host().part(kind, name)
    settings = settings_of(part, made=inspect.isclass(part) or KINDS[kind].made)
    place = f"{inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}"
    doc = inspect.getdoc(part) or ""
    constructor = inspect.cleandoc(vars(part)["__init__"].__doc__ or "") if "__init__" in vars(part) else ""
    words = "\n\n".join(filter(None, [doc, constructor]))
    if as_json:
        rows = {
            s.name: {
                "type": describe(s.annotation),
                "default": None if s.required else s.default,
                "required": s.required,
                "meaning": s.meaning,
            }
            for s in settings.values()
        }
        page = {"kind": kind, "name": name, "doc": words, "settings": rows, "source": place}
        _say_json(page)
        return
    click.echo(f"{kind} {name}\n\n{words}\n\nsettings:")
    for setting in settings.values():
        default = "required" if setting.required else f"= {setting.default!r}"
        meaning = f"\n      {setting.meaning}" if setting.meaning else ""
        click.echo(f"  {setting.name}: {describe(setting.annotation)} {default}{meaning}")
    click.echo(("" if settings else "  none\n") + f"\nsource: {place}")


@main.command()
@click.argument("target")
@click.argument("overrides", nargs=-1)
@click.option(
    "--resume",
    "resuming",
    is_flag=True,
    help="TARGET is a run folder, or a run file whose newest run goes on, for more updates or stages if it has more.",
)
@click.option("--dry-run", is_flag=True, help="Check names, settings and types, build nothing, say what would be done.")
@click.option("--check", "checking", is_flag=True, help="Build everything, compare it, play one task; write nothing.")
@_JSON
def train(
    target: str, overrides: tuple[str, ...], resuming: bool, dry_run: bool, checking: bool, as_json: bool
) -> None:
    """Train as the run file TARGET says; OVERRIDES are key.sub=value."""
    if resuming and (overrides or dry_run or checking):
        given = overrides[0] if overrides else "--dry-run" if dry_run else "--check"
        raise ConfigError(f"--resume goes on exactly as the run began; it takes no overrides ({given!r} given)")
    if Path(target).is_dir() and not resuming:
        raise ConfigError(
            f"{target} is a folder: `agentrl train --resume {target}` goes on with a run, and "
            f"`agentrl train {Path(target) / 'run.toml'}` begins another one like it"
        )
    if dry_run or checking:
        from agentrl.runs.run import check, planned

        _say_plan(check(target, overrides) if checking else planned(target, overrides, host=_host()), as_json)
        return
    from agentrl.cli.display import Display
    from agentrl.runs import run
    from agentrl.runs.progress import Progress
    from agentrl.runs.resuming import chosen_run

    progress = Progress()
    try:
        with Display(progress):
            if resuming:
                folder, longer, note = chosen_run(target, _host())
                if note:
                    click.echo(f"note: {note}", err=True)
                result = run.resume(folder, longer=longer, progress=progress)
            else:
                result = run.train(target, overrides, progress=progress)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed once more, it would only spoil the last words
        if progress.folder:
            click.echo(
                f"\nstopped; {progress.done} of {progress.total} updates are safe in {progress.folder}", err=True
            )
            click.echo(f"go on with: agentrl train --resume {progress.folder}", err=True)
        else:
            click.echo("\nstopped while setting up; nothing was begun", err=True)
        sys.exit(130)
    if as_json:
        _say_json({"folder": str(result.folder), **result.summary})
    else:
        _say_summary(result.folder, result.summary)
    after: Any = result.summary.get("after")
    if after is not None and not after["tasks"]:
        click.echo("agentrl: the model was trained, and no play of its evaluation was counted", err=True)
        sys.exit(1)


@main.command("eval")
@click.argument("target")
@click.argument("overrides", nargs=-1)
@click.option("--model", "model", type=click.Path(), help="A model folder written by agentrl or Hugging Face.")
@_JSON
def evaluate(target: str, overrides: tuple[str, ...], model: str | None, as_json: bool) -> None:
    """Play the held-out tasks of TARGET, a run folder or a run file."""
    from agentrl.runs.run import evaluate as evaluate_run

    result = evaluate_run(target, overrides, model=model)
    if as_json:
        _say_json(result.to_json())
    else:
        means = (_shown(result.mean_return.value, ".3f"), _shown(result.mean_turns.value, ".1f"))
        click.echo(f"success  {_interval(result.summary())}")
        click.echo(f"return   {means[0]}   turns {means[1]}   failed {result.failures}")
    for note in result.notes().values():
        click.echo(f"note: {note}", err=True)
    sys.exit(0 if result.plays else 1)


@main.command("check")
@click.argument("kind")
@click.argument("name")
@click.argument("settings", nargs=-1)
@click.option("--time-limit", default=600.0, show_default=True, help="Seconds after which a check is given up.")
@click.option(
    "--actions",
    multiple=True,
    metavar="FILE|ACTION",
    help="An action to try in a world that lists none, or a file of some: one a line, or a JSON list. Any number of times.",
)
@_JSON
def check_part(
    kind: str, name: str, settings: tuple[str, ...], time_limit: float, actions: tuple[str, ...], as_json: bool
) -> None:
    """Put an installed part through its kit, or an installed plugin (KIND `plugin`); SETTINGS are key=value."""
    from collections import Counter

    from agentrl.cli.checking import Watching, read_actions
    from agentrl.parts.registry import Spec
    from agentrl.parts.tables import read_tables
    from agentrl.testing import check_part as run_kit
    from agentrl.testing.faults import limits

    tries = read_actions(actions)
    with Watching(shown=not as_json), limits(time_limit):
        host = _host()
        spec = Spec.from_table(kind, read_tables({"part": {"name": name}}, [f"part.{s}" for s in settings])["part"])
        if kind != "plugin":
            host.check(spec)
        report = run_kit(spec, host, tries=tries)
    if as_json:
        _say_json(report.to_json())
    else:
        count = Counter(result.verdict for result in report.results)
        counts = f"{count['passed']} checks passed, {count['failed']} failed, {count['skipped']} skipped"
        owner = "" if kind == "plugin" else f" of plugin {host.plugin_of(spec)}"
        click.echo(f"\n{kind} {name}{owner}: {counts}")
    sys.exit(0 if report.passed else 1)


def _say_json(value: object) -> None:
    """Standard JSON: what is not a number is null."""
    from agentrl.data.jsontext import to_json  # here, so that listing stays light

    click.echo(to_json(value, indent=2))


def _say_plan(config: Any, as_json: bool) -> None:
    plan = {
        "name": config.name,
        "seed": config.seed,
        "parts": {kind: spec.name for kind, spec in config.parts.items()},
        "stages": [
            {"name": s.name, "updates": s.updates, "parts": {k: p.name for k, p in s.parts.items()}}
            for s in config.plan
        ],
    }
    if as_json:
        _say_json(plan)
        return
    click.echo(f"{config.name}, seed {config.seed}: everything fits")
    for stage in plan["stages"]:
        click.echo(
            f"  {stage['name']}: {stage['updates']} updates with {', '.join(f'{k} {n}' for k, n in stage['parts'].items())}"
        )


def _say_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    click.echo(f"\n{'held-out tasks':<16}{'success':>9}   95 % interval      tasks")
    for name in ("before", "after", "difference"):
        if name in summary:
            click.echo(f"{name:<16}{_interval(summary[name])}")
    for longer in summary.get("lengthened", ()):
        click.echo(f"lengthened after update {longer['after_updates']}: {'; '.join(longer['notes'])}")
    for name in ("before", "after"):
        for note in summary.get(f"notes_{name}", ()):
            click.echo(f"note: {name}: {note}", err=True)
    click.echo(f"\n{summary['seconds']:.0f} s, peak memory {summary['peak_memory_mib']:.0f} MiB")
    if (folder / "curve.png").exists():
        click.echo(f"curve     {folder / 'curve.png'}")
    click.echo(f"model     {folder / 'model'}\nrun       {folder}\n")
    click.echo(f"next: agentrl eval {folder}    agentrl train --help    agentrl list")


def _interval(numbers: Mapping[str, Any]) -> str:
    success, low, high = (_shown(numbers[name], ".1%") for name in ("success", "low", "high"))
    return f"{success:>9}   {low:>6} … {high:<6}   {numbers['tasks']:>5}"


def _shown(number: float, form: str) -> str:
    """A number, or a dash where nothing is known."""
    return "–" if math.isnan(number) else format(number, form)


def _host() -> Any:
    import logging

    from agentrl.parts.host import default_host

    logging.getLogger("agentrl.parts.host").setLevel(logging.ERROR)  # `list` shows what is switched off
    return default_host()


main.add_command(examples)
main.add_command(new)
main.add_command(play)


if __name__ == "__main__":
    main()

"""The command line: the only module that prints."""

from __future__ import annotations

import json
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

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            _host().manager.hook.register_commands(cli=self)
            found = super().get_command(ctx, cmd_name)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        _host().manager.hook.register_commands(cli=self)
        return super().list_commands(ctx)

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
        click.echo(json.dumps(page, indent=2, default=repr))
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
    "--resume", "resuming", is_flag=True, help="TARGET is a run folder, or a run file whose newest run goes on."
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
        from agentrl.parts.run_file import parse
        from agentrl.parts.tables import read_tables
        from agentrl.runs.run import check

        _say_plan(check(target, overrides) if checking else parse(read_tables(target, overrides), _host()), as_json)
        return
    from agentrl.cli.display import Display
    from agentrl.runs import run
    from agentrl.runs.progress import Progress

    progress = Progress()
    try:
        with Display(progress):
            if resuming:
                result = run.resume(_run_folder(target), progress=progress)
            else:
                result = run.train(target, overrides, progress=progress)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed once more, it would only spoil the last words
        folder = progress.folder
        if folder:
            click.echo(f"\nstopped; {progress.done} of {progress.total} updates are safe in {folder}", err=True)
            click.echo(f"go on with: agentrl train --resume {folder}", err=True)
        else:
            click.echo("\nstopped while setting up; nothing was begun", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps({"folder": str(result.folder), **result.summary}, indent=2))
    else:
        _say_summary(result.folder, result.summary)


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
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    click.echo(f"success  {_interval(result.summary())}")
    click.echo(
        f"return   {result.mean_return.value:.3f}   turns {result.mean_turns.value:.1f}   failed {result.failures}"
    )


@main.command("check")
@click.argument("kind")
@click.argument("name")
@click.argument("settings", nargs=-1)
@click.option("--time-limit", default=600.0, show_default=True, help="Seconds after which a check is given up.")
@_JSON
def check_part(kind: str, name: str, settings: tuple[str, ...], time_limit: float, as_json: bool) -> None:
    """Put an installed part through its kit, or an installed plugin (KIND `plugin`); SETTINGS are key=value."""
    from collections import Counter
    from contextlib import redirect_stdout

    from agentrl.parts.registry import Spec
    from agentrl.parts.tables import read_tables
    from agentrl.testing import check_part as run_kit
    from agentrl.testing.faults import limits

    with redirect_stdout(sys.stderr), limits(time_limit):  # what the part prints is no part of the report
        host = _host()
        spec = Spec.from_table(kind, read_tables({"part": {"name": name}}, [f"part.{s}" for s in settings])["part"])
        if kind != "plugin":
            host.check(spec)
        report = run_kit(spec, host)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        for result in report.results:
            mark = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[result.verdict]
            click.echo(f"{mark} {result.check.replace('_', ' ')}{': ' + result.detail if result.detail else ''}")
        count = Counter(result.verdict for result in report.results)
        counts = f"{count['passed']} checks passed, {count['failed']} failed, {count['skipped']} skipped"
        owner = "" if kind == "plugin" else f" of plugin {host.plugin_of(spec)}"
        click.echo(f"\n{kind} {name}{owner}: {counts}")
    sys.exit(0 if report.passed else 1)


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
        click.echo(json.dumps(plan, indent=2))
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
    click.echo(f"\n{summary['seconds']:.0f} s, peak memory {summary['peak_memory_mib']:.0f} MiB")
    if (folder / "curve.png").exists():
        click.echo(f"curve     {folder / 'curve.png'}")
    click.echo(f"model     {folder / 'model'}\nrun       {folder}\n")
    click.echo(f"next: agentrl eval {folder}    agentrl train --help    agentrl list")


def _interval(numbers: Mapping[str, Any]) -> str:
    return f"{numbers['success']:>9.1%}   {numbers['low']:>6.1%} … {numbers['high']:<6.1%}   {numbers['tasks']:>5}"


def _run_folder(target: str) -> Path:
    """The folder itself, or the newest run of a run file."""
    path = Path(target)
    if path.is_dir():
        return path
    if not path.exists():
        raise ConfigError(
            f"there is no run folder or run file {target!r} to go on with; `ls runs` shows runs made here"
        )
    from agentrl.parts.run_file import parse
    from agentrl.parts.tables import read_tables

    config = parse(read_tables(path), _host())
    runs = [p.parent for p in config.runs.glob(f"{config.name}*/run.toml")]
    if not runs:
        raise ConfigError(
            f"there is no run of {config.name!r} under {config.runs}/ to go on with; omit --resume to begin one"
        )
    newest = max(runs, key=lambda folder: (folder / "run.toml").stat().st_mtime)
    if read_tables(newest / "run.toml") != config.tables:
        click.echo(f"note: {newest} goes on by its own run.toml, which differs from {path}", err=True)
    return newest


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

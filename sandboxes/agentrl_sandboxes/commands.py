"""Commands on sandboxes: run a program in one, check one, clean up after killed processes."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import click

import agentrl
from agentrl import ConfigError, ExecResult, SandboxLimits, SandboxProvider, SandboxSpec, Spec, default_host

_IN = click.option("--in", "name", default="bubblewrap", show_default=True, help="Which sandbox to use.")
_SET = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the sandbox.")
_LIMITS = SandboxLimits()


@agentrl.hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command(sandbox)


@click.group()
def sandbox() -> None:
    """Run untrusted programs in sandboxes, and check these."""


@sandbox.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_IN
@_SET
@click.option("--timeout", "timeout_s", type=float, default=_LIMITS.wall_s, show_default=True, help="Seconds.")
@click.option("--memory", "memory_mib", type=int, default=_LIMITS.memory_mib, show_default=True, help="MiB.")
@click.option(
    "--put", "files", multiple=True, type=click.Path(exists=True, dir_okay=False), help="A file to take along."
)
@click.option("--stdin", "-i", "with_stdin", is_flag=True, help="Give it the standard input of this command.")
@click.option("--json", "as_json", is_flag=True, help="Print how it ended, with its output, as one JSON document.")
def run(
    command: tuple[str, ...],
    name: str,
    settings: tuple[str, ...],
    timeout_s: float,
    memory_mib: int,
    files: tuple[str, ...],
    with_stdin: bool,
    as_json: bool,
) -> None:
    """Run COMMAND in a fresh sandbox: `agentrl sandbox run -- python -c 'print(1)'`.

    The exit code is the program's own; 124 after a time-out, 125 where another limit ended it, 128 + N for signal N.
    """
    spec = SandboxSpec(limits=SandboxLimits(wall_s=timeout_s, memory_mib=memory_mib))
    with _provider(name, settings) as provider, provider.create(spec) as box:
        box.put_tree({Path(file).name: Path(file).read_bytes() for file in files})
        stdin = sys.stdin.buffer.read() if with_stdin else b""
        result = box.exec(command, stdin=stdin, on_output=None if as_json else _write_output)
        if as_json:
            report = {**result.to_data(), "stdout": result.stdout.text, "stderr": result.stderr.text}
            click.echo(json.dumps({**report, "grade": box.grade()}, indent=2))
        elif result.status not in ("exited", "signalled"):
            click.echo(f"agentrl: ended: {result.status.replace('_', ' ')} {result.reason}".rstrip(), err=True)
    sys.exit(_exit_code(result))


@sandbox.command()
@click.argument("name", default="bubblewrap")
@_SET
@click.option("--contract", "contract_only", is_flag=True, help="Without the escape suite.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def check(name: str, settings: tuple[str, ...], contract_only: bool, as_json: bool) -> None:
    """Put a sandbox through the contract and the escape suite."""
    from agentrl_sandboxes.checks.kit import ATTEMPTS, check_provider

    with _provider(name, settings) as provider:
        report = check_provider(provider, name=name, attempts=[] if contract_only else ATTEMPTS)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        for result in report.results:
            mark = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[result.verdict]
            click.echo(f"{mark} {result.check.replace('_', ' ')}{': ' + result.detail if result.detail else ''}")
    sys.exit(0 if report.passed else 1)


@sandbox.command()
@_IN
@_SET
def reap(name: str, settings: tuple[str, ...]) -> None:
    """Remove what killed processes left behind on this machine."""
    with _provider(name, settings) as provider:
        for line in provider.reap() or ["nothing was left behind"]:
            click.echo(line)


@sandbox.command()
@_IN
@_SET
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=int, default=8477, show_default=True, help="0 picks a free one.")
@click.option("--workers", type=int, default=0, help="Processes; by default one for each core.")
@click.option("--sandboxes", type=int, default=64, show_default=True, help="At once, in all workers together.")
@click.option("--queue", type=int, default=64, show_default=True, help="Creations that may wait for one to end.")
@click.option("--cert", default="", help="File with a TLS certificate; with it the pool is at wss://.")
@click.option("--key", default="", help="File with its key, where that is another one.")
@click.option("--trust-network", is_flag=True, help="Serve other machines without TLS, through a tunnel for example.")
def serve(
    name: str,
    settings: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    sandboxes: int,
    queue: int,
    cert: str,
    key: str,
    trust_network: bool,
) -> None:
    """Offer a sandbox to agentrl on other machines, until this is interrupted.

    Clients use the sandbox `pool` with this address and a token: the variable AGENTRL_POOL_TOKEN, or one that is made
    up and shown.
    """
    import os
    import signal

    from agentrl_sandboxes.pool.messages import TOKEN_VARIABLE
    from agentrl_sandboxes.pool.server import PoolServer, PoolSettings

    _provider(name, settings).close()  # refused here rather than in every worker
    token = os.environ.get(TOKEN_VARIABLE, "")
    offer = PoolSettings(
        name, _settings(settings), host, port, token, workers, sandboxes, queue,
        cert=cert, key=key, trust_network=trust_network,
    )  # fmt: skip
    server = PoolServer(offer, lambda line: click.echo(f"agentrl: {line}", err=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.end())
    server.start()
    click.echo(f"serving {name} at {server.url}: {len(server.workers)} workers, {sandboxes} sandboxes at once")
    click.echo(f"token: {'the one in ' + TOKEN_VARIABLE if token else server.token}")
    server.wait()
    server.close()


def _provider(name: str, settings: tuple[str, ...]) -> SandboxProvider:
    provider: SandboxProvider = default_host().build(Spec("sandbox", name, _settings(settings)))
    obstacle = provider.obstacle()
    if obstacle:
        raise ConfigError(f"the sandbox {name!r} does not work on this machine: {obstacle}")
    return provider


def _settings(pairs: Sequence[str]) -> dict[str, object]:
    """KEY=VALUE pairs, values as in a run file; a bare word is a text."""
    settings: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise ConfigError(f"{pair!r} is no setting; write KEY=VALUE, for instance --set warm=2")
        try:
            settings[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = text
    return settings


def _write_output(stream: str, data: bytes) -> None:
    target = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
    target.write(data)
    target.flush()


def _exit_code(result: ExecResult) -> int:
    if result.status == "timeout":
        return 124
    if result.status not in ("exited", "signalled"):
        return 125
    return result.exit_code if result.exit_code is not None else 128 + (result.signal or 0)

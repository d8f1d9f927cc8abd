"""`agentrl play`: a world in the terminal, for a person or to watch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from agentrl.errors import ConfigError

if TYPE_CHECKING:
    from agentrl.data.types import Info
    from agentrl.parts.playing import Demonstrator


@click.command()
@click.argument("environment")
@click.argument("settings", nargs=-1)
@click.option("--policy", default="human", show_default=True, help="Who plays: human, expert or random.")
@click.option("--split", help="Split to take the task from.")
@click.option("--index", type=int, help="Which task of the split.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--web", is_flag=True, help="As a page in a browser, for worlds that are one (webshop).")
@click.option("--port", type=int, default=0, help="Of the page; 0 takes a free one.")
def play(
    environment: str,
    settings: tuple[str, ...],
    policy: str,
    split: str | None,
    index: int | None,
    seed: int,
    web: bool,
    port: int,
) -> None:
    """Play a world in the terminal; SETTINGS are key=value."""
    from agentrl.parts.host import default_host
    from agentrl.parts.registry import Spec
    from agentrl.parts.tables import read_tables

    host = default_host()
    table = read_tables({"environment": {"name": environment}}, [f"environment.{s}" for s in settings])["environment"]
    env = host.build(Spec.from_table("environment", table))
    if web:
        _serve_page(env, environment, port)
        return
    player = host.build(Spec("policy", policy, {"ask": _ask} if policy == "human" else {}))
    if inspect.iscoroutinefunction(player.act):
        raise ConfigError(
            f"policy {policy!r} needs prompts, and here are none; `agentrl play` takes human, expert or random"
        )
    options = {key: value for key, value in (("split", split), ("index", index)) if value is not None}
    try:
        _play(env, player, seed, options, echo=policy != "human")
    except (KeyboardInterrupt, EOFError, click.Abort):
        click.echo("\nended")
    finally:
        env.close()


def _serve_page(env: Any, name: str, port: int) -> None:
    serve = getattr(env.unwrapped, "serve", None)
    if serve is None:
        raise ConfigError(f"the world {name!r} has no page for a browser; play it without --web")
    try:
        serve("127.0.0.1", port, ready=lambda address: click.echo(f"open {address} (Ctrl-C ends it)"))
    except KeyboardInterrupt:
        click.echo("\nclosed")
    finally:
        env.close()


def _play(env: Any, player: Demonstrator, seed: int, options: Mapping[str, object], *, echo: bool) -> None:
    from agentrl.data.seeds import seed_of

    observation, info = env.reset(seed=seed, options=options or None)
    total, turn, over, terminated = 0.0, 0, False, False
    if getattr(env.unwrapped, "instructions", ""):
        click.secho(env.unwrapped.instructions + "\n", dim=True)
    while not over:
        click.echo(observation)
        action = player.act(env, info, seed_of(seed, turn)).strip()
        if echo:
            click.secho(f"> {action}", bold=True)
        observation, reward, terminated, truncated, info = env.step(action)
        total, turn, over = total + float(reward), turn + 1, terminated or truncated
    click.echo(observation)
    ending = "solved" if info.get("success") else "over" if terminated else "out of turns"
    click.secho(f"\n{ending} after {turn} turns, return {total:g}", bold=True)


def _ask(info: Info) -> str:
    while True:
        text = str(click.prompt("", prompt_suffix="> ", default="?", show_default=False))
        if text.strip() != "?":
            return text
        listed = info.get("admissible")
        words = [str(word) for word in listed] if isinstance(listed, (list, tuple)) else ["this world lists no actions"]
        click.secho("\n".join(words), dim=True)

"""The kit for a plugin as a whole: what it offers can be imported, and its watchers, columns, commands and kits behave."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import click
import pluggy

from agentrl.data.columns import Column
from agentrl.data.types import Outcome, Trajectory
from agentrl.errors import AgentRLError, did_you_mean
from agentrl.parts.host import OFFERS, Host
from agentrl.parts.kinds import KINDS
from agentrl.parts.registry import Entry
from agentrl.testing.compare import written
from agentrl.testing.report import CheckSkipped, Report, checks_of, gate, require, run_checks
from agentrl.testing.sample_plays import sample_plays
from agentrl.testing.samples import sample_branches

COMMAND_LINE = "agentrl.cli:main"
METRICS: Mapping[str, float] = MappingProxyType({"success": 0.5, "train/loss": math.nan, "cost/tokens": math.inf})


def check_plugin(name: str, host: Host) -> Report:
    """Put an installed plugin, named as its entry point, through the kit."""
    return run_checks("plugin", name, checks_of(_PluginKit(name, host)))


class _PluginKit:
    def __init__(self, name: str, host: Host) -> None:
        self._name, self._host = name, host

    @gate
    def it_is_switched_on(self) -> str:
        broken = self._host.broken.get(self._name)
        require(broken is None, f"it is switched off: {broken}")
        known = [name for name, _ in self._host.manager.list_name_plugin()]
        require(self._name in known, f"there is no plugin of this name. {did_you_mean(self._name, known)}")
        offers = [f"{kind} {entry.name}" for kind, entry in self._offers()]
        return f"offers {', '.join(offers)}" if offers else "offers no parts"

    def what_it_offers_can_be_imported(self) -> str:
        entries = [entry for _, entry in self._offers()]
        if not entries:
            raise CheckSkipped("it offers no parts")
        undocumented = [entry.name for entry in entries if not (entry.load().__doc__ or "").strip()]
        require(not undocumented, f"{', '.join(undocumented)}: no docstring says what it does, for `agentrl show`")
        return f"{len(entries)} parts"

    def watchers_leave_what_they_see_alone(self) -> None:
        trajectories, metrics = _trajectories(), dict(METRICS)
        order, before = list(trajectories), written(trajectories)
        self._watch(trajectories, metrics)
        same = len(order) == len(trajectories) and all(a is b for a, b in zip(order, trajectories, strict=True))
        require(same and written(trajectories) == before, "it changes the trajectories that it watches")
        require(written(metrics) == written(METRICS), "it changes the metrics that it watches")

    def watchers_take_whatever_comes(self) -> None:
        failed = [
            dataclasses.replace(t, turns=(), outcome=Outcome.ENV_ERROR, error="broken") for t in sample_plays()[:2]
        ]
        self._watch(failed, {})
        self._watch([], dict(METRICS), update=7)
        self._watch(sample_branches(), dict(METRICS), update=3)  # a resumed run goes back

    def columns_are_declared_alike_each_time(self) -> str:
        hook = self._hook("register_columns")
        declared: list[list[Column]] = [[], []]
        for columns in declared:
            hook(declare=columns.append)
        require(declared[0] == declared[1], "asked twice, it declares other columns")
        return ", ".join(column.name for column in declared[0])

    def commands_are_its_own(self) -> str:
        hook, group = self._hook("register_commands"), click.Group()
        for _ in range(2):  # the command line asks whenever it looks for a command
            hook(cli=group)
        for name, command in group.commands.items():
            require(name not in _commands_of_agentrl(), f"{name!r} is a command of agentrl")
            require(command.get_short_help_str(), f"the command {name!r} has no docstring, for `agentrl --help`")
        return ", ".join(group.commands)

    def kits_accuse_what_is_nothing(self) -> str:
        kits = [entry for kind, entry in self._offers() if kind == "kit"]
        if not kits:
            raise CheckSkipped("it offers no kit")
        for entry in kits:
            require(entry.name in KINDS, f"there is no kind {entry.name!r}. {did_you_mean(entry.name, KINDS)}")
            require(
                not KINDS[entry.name].kit, f"agentrl has the kit for a {entry.name} itself, and this one is never asked"
            )
            require(not _passes_nothing(entry), f"the kit for a {entry.name} finds no fault with `object()`")
        return ", ".join(entry.name for entry in kits)

    def _offers(self) -> Iterator[tuple[str, Entry]]:
        for kind in OFFERS:
            yield from ((kind, entry) for entry in self._host.registry(kind) if entry.plugin == self._name)

    def _hook(self, hook: str) -> pluggy.HookCaller:
        """Calls this plugin alone. Raises CheckSkipped where it has no such function."""
        manager = self._host.manager
        own = manager.get_plugin(self._name)
        others = [plugin for _, plugin in manager.list_name_plugin() if plugin is not own]
        caller = manager.subset_hook_caller(hook, others)
        if not caller.get_hookimpls():
            raise CheckSkipped(f"it has no `{hook}`")
        return caller

    def _watch(self, trajectories: list[Trajectory], metrics: dict[str, float], update: int = 0) -> None:
        """Show both to its watchers. Raises CheckSkipped where it has none."""
        watched = 0
        for hook, shown in (("on_trajectories", {"trajectories": trajectories}), ("on_update", {"metrics": metrics})):
            try:
                caller = self._hook(hook)
            except CheckSkipped:
                continue
            caller(update=update, **shown)
            watched += 1
        if not watched:
            raise CheckSkipped("it watches nothing")


def _trajectories() -> list[Trajectory]:
    return [*sample_plays(), *sample_branches()]


def _commands_of_agentrl() -> set[str]:
    """Names of its own commands, those of plugins left out."""
    main = Entry("main", COMMAND_LINE, "agentrl").load()
    commands: Mapping[str, click.Command] = getattr(main, "commands", {})
    package = COMMAND_LINE.partition(":")[0]
    return {
        name for name, command in commands.items() if getattr(command.callback, "__module__", "").startswith(package)
    }


def _passes_nothing(entry: Entry) -> bool:
    """Whether a kit lets a bare object pass."""
    try:
        report = entry.load()(object, name="nothing")
    except (AgentRLError, TypeError, AttributeError):
        return False
    require(isinstance(report, Report), f"the kit for a {entry.name} gave {report!r}, which is no agentrl.Report")
    return isinstance(report, Report) and report.passed

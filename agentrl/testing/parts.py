"""Puts an installed part through the kit of its kind, with sample parts around it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from agentrl.data.types import EMPTY
from agentrl.errors import AgentRLError, ConfigError, PluginError, did_you_mean
from agentrl.parts.host import Host, default_host
from agentrl.parts.injected import SavedCodec, Texts
from agentrl.parts.kinds import KINDS
from agentrl.parts.playing import Player, Policy
from agentrl.parts.registry import Entry, Spec
from agentrl.parts.settings import Parameter, parameters_of
from agentrl.parts.weights import Model, Scorer
from agentrl.parts.wiring import kind_for
from agentrl.parts.words import Codec
from agentrl.testing.faults import limited, reason
from agentrl.testing.plugins import check_plugin
from agentrl.testing.report import Report
from agentrl.testing.sample_model import SampleModel
from agentrl.testing.sample_plays import Unreachable
from agentrl.testing.samples import sample_scope

Kit = Callable[..., Report]


def kit(kind: str, host: Host | None = None) -> Kit:
    """The kit of a kind of part: `kit("sandbox")(MyProvider, name="mine")`. Its first argument makes the part.

    Raises ConfigError for a kind that has none.
    """
    host = host or default_host()
    own = KINDS[kind].kit if kind in KINDS else ""
    if own:
        return Entry(kind, own, "agentrl").load()  # type: ignore[return-value]
    offered = [entry.name for entry in host.registry("kit")]
    if kind not in offered:
        have = [*offered, *(name for name, known in KINDS.items() if known.kit)]
        raise ConfigError(f"there is no kit for a {kind}. {did_you_mean(kind, have)}")
    return host.part("kit", kind)  # type: ignore[return-value]


def check_part(spec: Spec, host: Host, *, tries: Sequence[str] = ()) -> Report:
    """Put a part through the kit of its kind; of the kind "plugin", all that is not a part of an installed plugin.

    What it asks for by type is a sample, unless a setting names another: `model = "tiny"`. `tries`: actions for a
    world. Raises ConfigError for a kind without a kit, and for a part that cannot be made.
    """
    if tries and spec.kind != "environment":
        raise ConfigError(f"actions are tried in worlds; a {spec.kind} takes none")
    if spec.kind == "plugin":
        return check_plugin(spec.name, host)
    check = kit(spec.kind, host)
    if spec.kind == "environment":
        return check(spec, tries=tries)
    with ExitStack() as stack:
        bench = _Bench(spec, host, stack)
        _require_made(bench)
        return check(bench.make, name=spec.name, **bench.extras())


def _require_made(bench: _Bench) -> None:
    """Make the part once: what cannot be made at all is for the caller, not for the report."""
    try:
        with limited():
            bench.make()
    except PluginError as error:
        raise (PluginError(bench.hint(str(error))) if error.__cause__ is not None else error) from error.__cause__
    except (AgentRLError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's constructor may fail in any way
        raise PluginError(bench.hint(f"{bench.title} cannot be made: {reason(error)}")) from error


class _Bench:
    """Makes a part again and again, each time with new parts around it; all are closed with `stack`."""

    def __init__(self, spec: Spec, host: Host, stack: ExitStack) -> None:
        """Settings that describe parts of a run (`model`, `loss`) become those parts."""
        part = host.part(spec.kind, spec.name)
        parameters = parameters_of(part, made=KINDS[spec.kind].made or inspect.isclass(part))
        given = {
            name: p
            for name, p in parameters.items()
            if p.contract and p.required and isinstance(spec.settings.get(name), (str, Mapping))
        }
        self._parts = {p.contract: _spec_of(p, spec.settings[name]) for name, p in given.items()}
        self._spec = Spec(spec.kind, spec.name, {k: v for k, v in spec.settings.items() if k not in given})
        self._asks = {p.contract for p in parameters.values()}
        self._settings = {
            p.name for p in parameters.values() if p.contract is None and p.annotation in (int, int | None)
        }
        self._host, self._stack = host, stack
        self._fixed: dict[object, object] = {}
        self._model: Model | None = None
        """The model that was named, as it was made last."""

    def make(self, player: Player | None = None) -> object:
        """The part under test; a collector is given the player that it has to use."""
        return self._build({**self._fixed, **({} if player is None else {Player: player})})

    def extras(self) -> dict[str, object]:
        """What the kit of this kind takes besides `make`."""
        kind, host = self._spec.kind, self._host
        scope = host.registry(kind).entry(self._spec.name).scope
        of_kind: Mapping[str, Callable[[], dict[str, object]]] = {
            "context": lambda: {"budgeted": self._budgeted()},
            "credit": lambda: {"scope": scope, "columns": host.columns},
            "shaper": lambda: {"scope": scope},
            "policy": self._models,
            "model": lambda: {"other": lambda: self._build({}, seed=1), "saved": self._saved()},
            "loss": lambda: {"columns": host.columns},
            "judge": lambda: {"columns": host.columns, "failing": self._failing(), "model": self._model},
        }
        return of_kind.get(kind, dict)()

    def _models(self) -> dict[str, object]:
        """The model that every policy is made with from here on, and another one like it."""
        if not self._asks & {Model, Codec, Scorer}:
            return {}
        model, other = (self._model_of(seed) for seed in (0, 1))
        self._fixed = {Model: model, Codec: model.codec, Scorer: model}
        return {"model": model, "other": other}

    def _model_of(self, seed: int) -> Model:
        if Model not in self._parts:
            return SampleModel(seed)
        scope = sample_scope(seed=seed)
        self._stack.callback(scope.stack.close)
        model: Model = scope.keep(self._host.build(self._parts[Model], scope))
        return model

    def _saved(self) -> Callable[[Path], object] | None:
        """Makes the model with the codec of a folder, in a world of other words, if it asks for a codec that was kept."""
        if SavedCodec not in self._asks:
            return None
        return lambda folder: self._build({SavedCodec: SavedCodec(folder), Texts: Texts(("A word", "and another"))})

    def _budgeted(self) -> Callable[[int], object] | None:
        """Makes the context with so many tokens to show, if that is a setting of it."""
        if "budget" not in self._settings:
            return None
        return lambda tokens: self._build({}, settings={"budget": tokens})

    def _failing(self) -> Callable[[], object] | None:
        """Makes the part with a service that is down, if it asks one."""
        if not self._asks & {Policy, Scorer}:
            return None
        down = Unreachable()
        return lambda: self._build({Policy: down, Scorer: down})

    def _build(self, parts: Mapping[object, object], seed: int = 0, settings: Mapping[str, object] = EMPTY) -> object:
        scope = sample_scope(seed=seed)
        self._stack.callback(scope.stack.close)
        for contract, spec in self._parts.items():
            if contract not in parts:
                parts = {contract: scope.keep(self._host.build(spec, scope.within(parts))), **parts}
        model = parts.get(Model)
        if isinstance(model, Model):
            self._model = model
            parts = {Codec: model.codec, Scorer: model, **parts}
        try:
            spec = dataclasses.replace(self._spec, settings={**self._spec.settings, **settings})
            return scope.keep(self._host.build(spec, scope.within(parts)))
        except ConfigError as error:
            raise ConfigError(self.hint(str(error), parts)) from None

    @property
    def title(self) -> str:
        return f"{self._spec.kind} {self._spec.name!r} of plugin {self._host.plugin_of(self._spec)!r}"

    def hint(self, message: str, parts: Mapping[object, object] | None = None) -> str:
        """The message, and how to name a part that a sample cannot stand for."""
        if Model not in self._asks or Model in (self._parts if parts is None else parts):
            return message
        return f"{message.rstrip('.')}. Name one for the check: agentrl check {self._spec.kind} {self._spec.name} model=NAME"


def _spec_of(parameter: Parameter, value: object) -> Spec:
    kind = kind_for(parameter)
    if kind is None:
        raise ConfigError(f"{parameter.name} = {value!r} describes no part of a run")
    return Spec.from_table(kind.name, value)

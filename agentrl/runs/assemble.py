"""Builds the live parts of a run and of each of its stages from their specs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.parts.run_file import RunConfig, Stage
from agentrl.parts.contracts import Advantages, Collector, Credit, Judge, Model, Policy, Sampler, Shaper, Trainer
from agentrl.errors import ConfigError
from agentrl.parts.host import Host
from agentrl.parts.registry import Spec, settings_of
from agentrl.data.types import Trajectory

TOKENIZER_TRAJECTORIES = 400
"""How many trajectories a world plays to show its words to a model that makes its own tokenizer."""


@dataclass
class StageParts:
    """The live parts of one stage."""

    stage: Stage
    policy: Policy
    collector: Collector
    sampler: Sampler
    credit: Credit
    shapers: Sequence[Shaper]
    judges: Sequence[Judge]
    trainer: Trainer

    def stateful(self) -> dict[str, Any]:
        """Parts with `state` and `restore`, by a name that is the same when the stage is built again."""
        named: dict[str, Any] = {"sampler": self.sampler, "credit": self.credit}
        named.update({f"shaper{i}": shaper for i, shaper in enumerate(self.shapers)})
        return {name: part for name, part in named.items() if hasattr(part, "state") and hasattr(part, "restore")}

    def close(self) -> None:
        self.collector.close()
        self.trainer.close()


class Assembler:
    """Makes parts; the model and the run's own policy (the engine) are made once and shared by all stages."""

    def __init__(self, config: RunConfig, host: Host) -> None:
        self.config, self.host = config, host
        self.dialect = host.build(_spec(config, "dialect"))
        self.model: Model | None = self._model()
        self.engine: Policy | None = self._policy(config.parts["policy"]) if "policy" in config.parts else None

    def environments(self, stage: Stage | None = None) -> Callable[[], Any]:
        """A factory of worlds."""
        spec = stage.parts["environment"] if stage else _spec(self.config, "environment")
        return functools.partial(self.host.build, spec)

    def stage(self, stage: Stage) -> StageParts:
        """All parts of a stage, new; the model keeps its weights."""
        if self.model is None:
            raise ConfigError("this run has no [model]; a trainer needs one")
        environments = self.environments(stage)
        dialect = self.host.build(stage.parts["dialect"])
        probe = environments()
        splits = getattr(probe.unwrapped, "splits", {"train": 2**31 - 1})
        probe.close()
        loss = self.host.build(stage.parts["loss"]) if "loss" in stage.parts else None
        given: dict[str, Any] = {"model": self.model, "seed": self.config.seed, "total_updates": stage.updates}
        given |= {"loss": loss} if loss is not None else {}
        return StageParts(
            stage=stage,
            policy=self._stage_policy(stage, dialect),
            collector=self.collector(stage, dialect),
            sampler=self.host.build(stage.parts["sampler"], splits=splits, seed=self.config.seed),
            credit=self.host.build(stage.parts["credit"]) if "credit" in stage.parts else _ones,
            shapers=[self.host.build(spec) for spec in stage.shapers],
            judges=[self.host.build(spec) for spec in stage.judges],
            trainer=self.host.build(stage.parts["trainer"], **given),
        )

    def collector(self, stage: Stage, dialect: Any, *, group_size: int | None = None) -> Collector:
        """A collector of the stage's kind; evaluation asks for groups of one."""
        spec = stage.parts["collector"]
        if group_size is not None and "group_size" in settings_of(self.host.part("collector", spec.name)):
            spec = Spec(spec.kind, spec.name, {**spec.settings, "group_size": group_size})
        context = self.host.build(stage.parts["context"])
        made: Collector = self.host.build(spec, environments=self.environments(stage), context=context, dialect=dialect)
        return made

    def evaluation_policy(self, settings: Mapping[str, Any]) -> Policy:
        """The run's policy; with settings of its own a second engine on the same weights."""
        if self.engine is None:
            raise ConfigError("[evaluation] needs a [policy] of the whole run")
        if not settings:
            return self.engine
        spec = self.config.parts["policy"]
        return self._policy(Spec(spec.kind, spec.name, {**spec.settings, **settings}))

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()

    def _stage_policy(self, stage: Stage, dialect: Any) -> Policy:
        spec = stage.parts["policy"]
        if self.engine is not None and spec == self.config.parts["policy"]:
            return self.engine
        return self._policy(spec, dialect)

    def _policy(self, spec: Spec, dialect: Any = None) -> Policy:
        given = {"dialect": dialect or self.dialect, "seed": self.config.seed}
        given |= {"model": self.model} if self.model is not None else {}
        given |= {"encoder": self.engine} if getattr(self, "engine", None) is not None else {}
        made: Policy = self.host.build(spec, **given)
        return made

    def _model(self) -> Model | None:
        spec = self.config.parts.get("model")
        if spec is None:
            return None
        texts = _Texts(self)
        made: Model = self.host.build(spec, texts=texts, seed=self.config.seed)
        return made


class _Texts(Sequence[str]):
    """What the world and its expert say, played only if a model reads it."""

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def __getitem__(self, position: Any) -> Any:
        return self._played[position]

    def __len__(self) -> int:
        return len(self._played)

    @functools.cached_property
    def _played(self) -> list[str]:
        return world_texts(self._assembler.environments()(), self._assembler.dialect, seed=self._assembler.config.seed)


def world_texts(env: Any, dialect: Any, *, seed: int, trajectories: int = TOKENIZER_TRAJECTORIES) -> list[str]:
    """Observations and actions (as the dialect writes them) of seeded play: the expert's, a third of it random."""
    random = np.random.default_rng([seed, 7])
    texts: list[str] = []
    for _ in range(trajectories):
        observation, info = env.reset(seed=int(random.integers(2**31)))
        over = False
        while not over:
            action = _any_action(env, info, random)
            texts += [observation, dialect.write(action)]
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        texts.append(observation)
    env.close()
    return texts


def _any_action(env: Any, info: Mapping[str, Any], random: np.random.Generator) -> str:
    if random.random() < 1 / 3 and info.get("admissible"):
        return str(info["admissible"][int(random.integers(len(info["admissible"])))])
    try:
        return str(env.unwrapped.expert_action())
    except (AttributeError, NotImplementedError):
        return str(info["admissible"][0]) if info.get("admissible") else str(env.action_space.sample())


def _ones(trajectories: Sequence[Trajectory]) -> Advantages:
    """Every turn counts the same: what cloning wants."""
    return [np.ones(len(trajectory.turns)) for trajectory in trajectories]


def _spec(config: RunConfig, kind: str) -> Spec:
    return config.parts.get(kind) or config.stages[0].parts[kind]

"""The live parts of a run: built by what they ask for, shared where they are one, closed in reverse order."""

from __future__ import annotations

import dataclasses
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import gymnasium

from agentrl.data.durable import folder_damage
from agentrl.data.record import Run
from agentrl.data.schedules import Scheduled
from agentrl.data.types import AGENT
from agentrl.errors import ConfigError, RecordError, did_you_mean
from agentrl.parts.host import Host
from agentrl.parts.injected import Columns, SavedCodec, Seed, Splits, Texts, Updates
from agentrl.parts.learning import Loss
from agentrl.parts.live import LiveStage
from agentrl.parts.playing import Demonstrator, Player, Policy, Speaker, Voice
from agentrl.parts.registry import Spec
from agentrl.parts.run_file import EvaluationPlan, RunFile, Stage
from agentrl.parts.settings import parameters_of
from agentrl.parts.weights import Folder, Model, Scorer, Version
from agentrl.parts.wiring import Lazy, Scope, kind_for, schedules_of
from agentrl.parts.words import Codec, Dialect
from agentrl.worlds.borrowing import splits_of
from agentrl.worlds.player import EpisodePlayer
from agentrl.worlds.stepping import Clock
from agentrl.worlds.texts import WorldTexts
from agentrl.worlds.voice import LoopVoice

Report = Callable[[str, int, int], None]


class RunParts:
    """Makes parts; models and named policies are made once and shared by all stages."""

    def __init__(
        self, config: RunFile, host: Host, stack: ExitStack, folder: Path | None = None, report: Report | None = None
    ) -> None:
        """`folder`: of a run that exists, for codecs that it kept. `report(what, done, of)` is told of slow steps."""
        self.config, self.host, self.folder, self.report = config, host, folder, report
        self.incarnation = secrets.token_hex(4)
        self.models: dict[str, Model] = {}
        self.policies: dict[str, Speaker] = {}
        self.failures: Counter[str] = Counter()
        """How often judges and those who watch failed since an update was last committed."""
        self.live: dict[str, LiveStage] = {}
        """Stages that were made, by name."""
        self._players: dict[str, EpisodePlayer] = {}
        self._stacks: dict[str, ExitStack] = {}
        self._evaluating: Speaker | None = None
        self.scope = Scope(
            {
                Seed: Seed(config.seed),
                Columns: Columns(host.columns),
                Folder: Lazy(self._given_folder),
                Texts: Lazy(self._texts),
                **({Model: Lazy(self.model), Codec: Lazy(lambda: self.model().codec)} if self.has_model else {}),
            },
            named=self.named,
            stack=stack,
        )
        self.dialect: Dialect = host.build(_given(config, "dialect"), self.scope)

    @property
    def has_model(self) -> bool:
        """Whether the run file has a [model] table."""
        return "model" in self.config.parts

    def model(self, name: str = "model") -> Model:
        """The run's model, or one of [models]. Raises ConfigError where there is none."""
        if name not in self.models:
            spec = self.config.parts.get("model") if name == "model" else self.config.models.get(name)
            if spec is None:
                known = ["model", *self.config.models]
                raise ConfigError(f"this run has no model {name!r}. {did_you_mean(name, known)}")
            saved = SavedCodec(self._kept_codec(name))
            model: Model = self.scope.keep(self.host.build(spec, self.scope.within({SavedCodec: saved})))
            model.version = Version(self.config.name, self.incarnation, name, model.version.update)
            self.models[name] = model
        return self.models[name]

    def notes(self) -> list[str]:
        """What the models that were made want a person to know of how they are run."""
        return [note for model in self.models.values() for note in getattr(model, "notes", ())]

    async def begin(self) -> None:
        """Take over, once, the weights of the run that this one starts from; before any trainer keeps a copy of them."""
        source, self._begun = None if self._begun else self.config.start_from, True
        if source is not None:
            model = self.model()
            await getattr(model, "begin", model.load)(Run.open(source).model_folder())
            model.version = dataclasses.replace(model.version, update=0)

    _begun = False

    def policy(self, name: str = AGENT) -> Speaker:
        """The run's policy, or one of [policies]. Raises ConfigError where there is none."""
        name = self.config.policy_of(name)
        if name not in self.policies:
            spec = self.config.parts.get("policy") if name == AGENT else self.config.policies.get(name)
            if spec is None:
                raise ConfigError(
                    f"this run has no policy {name!r}. {did_you_mean(name, [AGENT, *self.config.policies])}"
                )
            self.policies[name] = self._policy(spec)
        return self.policies[name]

    def others(self) -> dict[str, Speaker]:
        """Who plays the speakers of [policies]."""
        return {name: self.policy(name) for name in self.config.policies}

    def named(self, path: str) -> object:
        """What a run file calls "models.NAME" or "policies.NAME". Raises ConfigError for anything else."""
        table, _, name = path.partition(".")
        if table == "models":
            return self.model(name)
        if table == "policies":
            return self.policy(name)
        raise ConfigError(f'{path!r} names no part of a run; write "models.NAME" or "policies.NAME"')

    def stage(self, stage: Stage) -> LiveStage:
        """All parts of a stage; those of one that repeats are made once."""
        if stage.name not in self.live:
            self.live[stage.name] = self._new_stage(stage)
        return self.live[stage.name]

    def release(self, name: str) -> None:
        """Close the parts of a stage that is over; they are made anew should it be asked for again."""
        self.live.pop(name, None)
        self._players.pop(name, None)
        stack = self._stacks.pop(name, None)
        if stack is not None:
            stack.close()

    def player(self, name: str) -> EpisodePlayer:
        """The player of a stage that was made."""
        return self._players[name]

    def evaluation_policy(self, plan: EvaluationPlan) -> Speaker:
        """The run's policy; with settings of its own a second one on the same weights, made once."""
        if not plan.policy:
            if "policy" not in self.config.parts:
                raise ConfigError("[evaluation] needs a [policy] of the whole run")
            return self.policy()
        if self._evaluating is None:
            spec = self.config.parts["policy"]
            self._evaluating = self._policy(Spec(spec.kind, spec.name, {**spec.settings, **plan.policy}))
        return self._evaluating

    def evaluation_player(self, stage: Stage | None) -> EpisodePlayer:
        """A new player for held-out tasks, with the worlds and limits of a stage; whoever asks closes it."""
        dialect: Dialect = self.host.build(stage.parts["dialect"], self.scope) if stage else self.dialect
        return self._player(stage, dialect, self.scope, self.model() if self.has_model else None)

    def splits(self, stage: Stage | None = None) -> Mapping[str, int]:
        """The splits of the world of a stage."""
        make = self.environments(stage)
        return splits_of(lambda: make(Clock()))

    def environments(self, stage: Stage | None = None, speaker: Callable[[], Speaker] | None = None) -> WorldMaker:
        """Makes worlds of a stage (of the run); voices speak for `speaker`, the run's policy unless given."""
        spec = stage.parts["environment"] if stage else _given(self.config, "environment")

        def voice(policy: Policy | None, clock: Clock) -> Voice:
            asked = policy or (speaker or self.policy)()
            if not isinstance(asked, Policy):
                raise ConfigError(
                    f"a world asks for a voice, and {type(asked).__name__} cannot be asked; name a policy"
                )
            return LoopVoice(asked, clock)

        return WorldMaker(self.host, spec, self.scope, voice)

    # --------------------------------------------------------------------------------------------------- making

    def _kept_codec(self, name: str) -> Path | None:
        """Where a codec was kept: by this run, or by the one it starts from; earlier versions kept it with the model."""
        source = self.folder or self.config.start_from
        if source is None:
            return None
        folder = source / "codec" / name
        if not folder.is_dir():
            return Run.open(source).model_folder()
        if problem := folder_damage(folder):
            raise RecordError(f"the codec of {source} is damaged: {problem}. Put it back from a copy")
        return folder

    def _policy(self, spec: Spec, dialect: Dialect | None = None) -> Speaker:
        model = self._model_of(spec)
        own: dict[object, object] = {}
        if model is not None:
            own = {Model: model, Codec: model.codec, Scorer: model}
        speaker: Speaker = self.scope.keep(
            self.host.build(spec, self.scope.within({Dialect: dialect or self.dialect, **own}))
        )
        return speaker

    def _model_of(self, spec: Spec) -> Model | None:
        """The model that a policy plays with: named in its table, or the run's; None for one that asks for none."""
        parameters = parameters_of(self.host.part(spec.kind, spec.name), made=True)
        if not any(parameter.contract is Model for parameter in parameters.values()):
            return None
        name = spec.settings.get("model")
        return self.model(name.partition(".")[2]) if isinstance(name, str) else self.model() if self.has_model else None

    def _new_stage(self, stage: Stage) -> LiveStage:
        dialect: Dialect = self.host.build(stage.parts["dialect"], self.scope)
        own = stage.parts["policy"] != self.config.parts.get("policy")
        agent = self._policy(stage.parts["policy"], dialect) if own else self.policy()
        policy_of = self.config.policy_of
        others = {name: agent if policy_of(name) == AGENT else self.policy(name) for name in self.config.policies}
        speakers = {AGENT: agent, **others}
        model = self._trained(stage, speakers)
        stack = self._stacks[stage.name] = ExitStack()
        self.scope.stack.callback(stack.close)  # before the policies, which were made before
        # The speakers' model writes their ids; demonstrators have none, so the trained one writes theirs.
        player = self._players[stage.name] = self._player(stage, dialect, self.scope, model, lambda: agent)
        scope = self._scope_of(stage, model, agent, dialect, player, stack)
        scope.keep(player)
        specs = {kind: stage.parts[kind] for kind in ("collector", "sampler", "credit") if kind in stage.parts}
        shapers = {f"shapers.{number}": spec for number, spec in enumerate(stage.shapers)}
        judges = {f"judges.{number}": spec for number, spec in enumerate(stage.judges)}
        specs |= shapers | judges
        parts = {name: scope.keep(self.host.build(spec, scope)) for name, spec in specs.items()}
        if "loss" in stage.parts:
            scope = scope.within({Loss: self.host.build(stage.parts["loss"], scope)})
        parts |= {"player": player, "context": player.context}
        order = ["sampler", "collector", "player", "context", *judges, "credit", *shapers]
        observers = {name: parts[name] for name in order if name in parts}
        _check_state(observers)
        return LiveStage(
            name=stage.name,
            model=model,
            trainer=scope.keep(self.host.build(stage.parts["trainer"], scope)),
            speakers=speakers,
            policies=_playing_with(model, [agent, self.policies.get(AGENT), *speakers.values()]),
            collector=parts["collector"],
            sampler=parts["sampler"],
            credits=parts.get("credit"),
            trains=stage.trains,
            shapers=[parts[name] for name in shapers],
            judges=[parts[name] for name in judges],
            observers=observers,
            columns=self.host.columns,
            scheduled=self._scheduled(stage),
            names={name: self.host.label(spec) for name, spec in {**stage.parts, **specs}.items()},
            judge_timeout_s=stage.judge_timeout_s,
            failures=self.failures,
        )

    def _scope_of(
        self, stage: Stage, model: Model, agent: Speaker, dialect: Dialect, player: EpisodePlayer, stack: ExitStack
    ) -> Scope:
        """What the parts of a stage are given."""
        return self.scope.within(
            {
                Model: model,
                Codec: model.codec,
                Scorer: model if isinstance(model, Scorer) else None,
                Policy: agent if isinstance(agent, Policy) else None,
                Demonstrator: None if isinstance(agent, Policy) else agent,
                Dialect: dialect,
                Player: player,
                Updates: Updates(stage.updates),
                Splits: Lazy(lambda: Splits(self.splits(stage))),
            },
            voice=lambda policy: self._no_voice(),
            stack=stack,
        )

    def _scheduled(self, stage: Stage) -> dict[str, Scheduled[float]]:
        schedules = schedules_of(self.host, [*stage.parts.values(), *stage.shapers, *stage.judges])
        turns = stage.player.max_turns
        return schedules | ({"player.max_turns": turns} if turns is not None and len(turns.values) > 1 else {})

    def _trained(self, stage: Stage, speakers: Mapping[str, Speaker]) -> Model:
        """The one model that a stage trains: that of its trained speakers."""
        models: dict[int, Model] = {}
        for name in stage.trains:
            if name not in speakers:
                raise ConfigError(f"stage {stage.name!r} trains {name!r}. {did_you_mean(name, speakers)}")
            played_by = self.config.policy_of(name)
            spec = stage.parts["policy"] if played_by == AGENT else self.config.policies[played_by]
            model = self._model_of(spec) or (self.model() if self.has_model else None)
            if model is None:
                raise ConfigError("this run has no [model]; a trainer needs one")
            models[id(model)] = model
        if len(models) != 1:
            raise ConfigError(
                f"stage {stage.name!r} trains {', '.join(stage.trains)}, which play with {len(models)} models; a stage "
                "trains one: alternate two stages with `repeat` and `of`"
            )
        return next(iter(models.values()))

    def _player(
        self, stage: Stage | None, dialect: Dialect, scope: Scope, model: Model | None,
        speaker: Callable[[], Speaker] | None = None,
    ) -> EpisodePlayer:  # fmt: skip
        spec = stage.parts["context"] if stage else _given(self.config, "context")
        settings = stage.player if stage else self.config.player
        environments = self.environments(stage, speaker)
        spoken = {"context": spec, "dialect": stage.parts["dialect"] if stage else _given(self.config, "dialect")}
        names = {kind: self.host.label(spec) for kind, spec in spoken.items()}
        return EpisodePlayer(environments, self.host.build(spec, scope), dialect, settings, model, names)

    def _no_voice(self) -> Voice:
        raise ConfigError("only worlds speak with a Voice; judges and contexts await a Policy")

    def _given_folder(self) -> Folder:
        if self.folder is None:
            raise ConfigError("a part wants the folder of the run, and nothing is kept here")
        return Folder(self.folder)

    def _texts(self) -> Texts:
        maker = self.environments(self.config.plan[0] if self.config.plan else None).without_policies()
        report = self.report
        tell = (lambda done, of: report("playing for the tokenizer", done, of)) if report is not None else None
        return Texts(WorldTexts(lambda: maker(Clock()), self.dialect, self.config.seed, tell))


class WorldMaker:
    """Makes worlds; a world that asks for a Voice gets one of its own, and is stepped in a thread."""

    def __init__(self, host: Host, spec: Spec, scope: Scope, voice: Callable[[Policy | None, Clock], Voice]) -> None:
        self._host, self._spec, self._scope, self._voice = host, spec, scope, voice
        self._parameters = parameters_of(host.part(spec.kind, spec.name), made=True)
        self.threaded = any(
            parameter.contract is Voice and (parameter.required or name in spec.settings)
            for name, parameter in self._parameters.items()
        )

    def __call__(self, clock: Clock) -> gymnasium.Env[str, str]:
        scope = self._scope.within({}, voice=lambda policy: self._voice(policy, clock))
        env: gymnasium.Env[str, str] = self._host.build(self._spec, scope)
        return env

    def without_policies(self) -> WorldMaker:
        """The same worlds, without the policies that a run file gives them: words are made before policies are."""
        nested = {
            name for name, p in self._parameters.items() if (kind := kind_for(p)) is not None and kind.name == "policy"
        }
        settings = {name: value for name, value in self._spec.settings.items() if name not in nested}
        spec = dataclasses.replace(self._spec, settings=settings)
        return WorldMaker(self._host, spec, self._scope, lambda policy, clock: _Mute())


class _Mute:
    """Says nothing; for worlds that are only played to hear their words."""

    def say(self, messages: object, *, seed: int, timeout_s: float = 60.0) -> str:
        return ""


def _given(config: RunFile, kind: str) -> Spec:
    """The run's part of a kind. Raises ConfigError where it has none."""
    spec = config.spec(kind)
    if spec is None:
        raise ConfigError(f"this run has no [{kind}]; add one")
    return spec


def _playing_with(model: Model, speakers: list[Speaker | None]) -> list[Policy]:
    """Policies with weights of this model, each once."""
    policies = {
        id(speaker): speaker
        for speaker in speakers
        if isinstance(speaker, Policy)
        and speaker.accepts
        and (speaker.version or Version()).model == model.version.model
    }
    return list(policies.values())


def _check_state(parts: Mapping[str, object]) -> None:
    """Refuse at the start what a resume would lose."""
    for name, part in parts.items():
        keeps = (hasattr(part, "state") and hasattr(part, "restore")) or (
            hasattr(part, "save") and hasattr(part, "load")
        )
        if getattr(part, "scope", "") == "run" and not keeps:
            raise ConfigError(
                f'{name} ({type(part).__name__}) says that it carries something from update to update (scope = "run"), '
                "but has neither state and restore nor save and load; a resumed run would lose it"
            )

"""The table of kinds: everything the core knows about a kind of part, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from agentrl.parts.injected import Columns, SavedCodec, Seed, Splits, Texts, Updates
from agentrl.parts.learning import Credit, Judge, Logger, Loss, Shaper, Trainer
from agentrl.parts.playing import Collector, Demonstrator, Player, Policy, Sampler, Voice
from agentrl.parts.weights import Folder, Model, Scorer
from agentrl.parts.words import Codec, Context, Dialect
from agentrl.sandbox import SandboxProvider


@dataclass(frozen=True)
class Kind:
    """One kind of part; `does` follows "Offer losses: " in the page of hooks.

    With `takes`, a registered function is the part, with its settings bound, and is called with these arguments;
    without, it is called to make the part. A class is constructed either way. `many` is the key of a run file that
    holds a list of such parts. `stage` says whether each stage has its own; `default` is taken where a run file names
    none. `kit` is the checker.
    """

    name: str
    hook: str
    contract: type
    does: str
    takes: tuple[str, ...] = ()
    stage: bool = False
    many: str = ""
    default: str = ""
    kit: str = ""

    @property
    def made(self) -> bool:
        """Whether a registered function is called to make the part."""
        return not self.takes


_KITS = "agentrl.testing"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("environment", "register_environments", object, stage=True, kit=f"{_KITS}.environment:check_environment",
             does="callables that give a world, a `gymnasium.Env` with text spaces"),
        Kind("sandbox", "register_sandboxes", SandboxProvider,
             does="places where untrusted code runs (`agentrl.SandboxProvider`)"),
        Kind("model", "register_models", Model, kit=f"{_KITS}.models:check_model",
             does="weights plus the codec that turns words into ids (`agentrl.Model`)"),
        Kind("policy", "register_policies", Policy, stage=True, kit=f"{_KITS}.policies:check_policy",
             does="who acts (`agentrl.Policy`), or who acts by looking at the world (`agentrl.Demonstrator`)"),
        Kind("context", "register_contexts", Context, stage=True, kit=f"{_KITS}.contexts:check_context", default="full",
             takes=("instructions", "turns", "observation", "previous"),
             does="what of the past the policy sees each turn, a function or an `agentrl.Context`"),
        Kind("dialect", "register_dialects", Dialect, stage=True, kit=f"{_KITS}.dialects:check_dialect", default="plain",
             does="how an action is written in text, and read back (`agentrl.Dialect`)"),
        Kind("collector", "register_collectors", Collector, stage=True, kit=f"{_KITS}.collecting:check_collector",
             default="asynchronous", does="they play one draw and return its groups (`agentrl.Collector`)"),
        Kind("sampler", "register_samplers", Sampler, stage=True, kit=f"{_KITS}.collecting:check_sampler",
             default="uniform", does="which tasks come next (`agentrl.Sampler`)"),
        Kind("credit", "register_credits", Credit, stage=True, kit=f"{_KITS}.credits:check_credit",
             takes=("trajectories",),
             does="functions `f(trajectories, *, settings) -> advantages`, per turn or per token"),
        Kind("shaper", "register_shapers", Shaper, many="shapers", kit=f"{_KITS}.shapers:check_shaper",
             takes=("trajectories", "advantages"),
             does="functions `f(trajectories, advantages, *, settings) -> advantages`, called after the credit"),
        Kind("loss", "register_losses", Loss, stage=True, kit=f"{_KITS}.losses:check_loss",
             does="classes (`agentrl.Loss`) called with per-token log-probs, advantages and weights"),
        Kind("trainer", "register_trainers", Trainer, stage=True, kit=f"{_KITS}.trainers:check_trainer",
             does="they alone change weights while their stage runs (`agentrl.Trainer`)"),
        Kind("judge", "register_judges", Judge, many="judges", kit=f"{_KITS}.watching:check_judge",
             does="they write columns into trajectories before credit (`agentrl.Judge`)"),
        Kind("logger", "register_loggers", Logger, many="loggers", kit=f"{_KITS}.watching:check_logger",
             does="they take metrics somewhere (`agentrl.Logger`)"),
    )
}  # fmt: skip
"""Name of a kind → the kind."""

STAGE_KINDS = tuple(kind.name for kind in KINDS.values() if kind.stage)
"""Kinds of which a stage has one; a stage that does not name its own takes the run's."""

OF_CONTRACT = {kind.contract: kind for kind in KINDS.values() if kind.contract is not object}
"""Contract that a parameter is annotated with → kind of the part that a run file may name for it."""

INJECTED: frozenset[object] = frozenset(
    {*OF_CONTRACT, Codec, Player, Scorer, Voice, Demonstrator}
    | {Columns, Folder, SavedCodec, Seed, Splits, Texts, Updates}
)
"""Types whose parameters are filled with parts of the run instead of settings."""

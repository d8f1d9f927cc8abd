"""The table of kinds: everything the core knows about a kind of part, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from agentrl.parts import contracts
from agentrl.sandbox import SandboxProvider


@dataclass(frozen=True)
class Kind:
    """One kind of part. `made`: a registered callable is called to make it; else it is the part, with its settings bound.

    A class is constructed either way. `many` is the key of a run file that holds a list of such parts. `stage` says
    whether each stage has its own; `default` is taken where a run file names none. `kit` is the checker.
    """

    name: str
    hook: str
    contract: type
    does: str
    made: bool = True
    stage: bool = False
    many: str = ""
    default: str = ""
    kit: str = ""


_KITS = "agentrl.testing"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("environment", "register_environments", object, "a world", stage=True,
             kit=f"{_KITS}.environment:check_environment"),
        Kind("sandbox", "register_sandboxes", SandboxProvider, "where untrusted code runs"),
        Kind("model", "register_models", contracts.Model, "weights and codec",
             kit=f"{_KITS}.models:check_model"),
        Kind("policy", "register_policies", contracts.Policy, "who acts", stage=True,
             kit=f"{_KITS}.policies:check_policy"),
        Kind("context", "register_contexts", contracts.Context, "what of the past is seen", made=False, stage=True,
             default="full", kit=f"{_KITS}.contexts:check_context"),
        Kind("dialect", "register_dialects", contracts.Dialect, "how an action is written", stage=True,
             default="plain", kit=f"{_KITS}.dialects:check_dialect"),
        Kind("collector", "register_collectors", contracts.Collector, "how a task is played", stage=True,
             default="asynchronous", kit=f"{_KITS}.collecting:check_collector"),
        Kind("sampler", "register_samplers", contracts.Sampler, "which tasks come next", stage=True,
             default="uniform", kit=f"{_KITS}.collecting:check_sampler"),
        Kind("credit", "register_credits", contracts.Credit, "advantages of turns", made=False, stage=True,
             kit=f"{_KITS}.credits:check_credit"),
        Kind("shaper", "register_shapers", contracts.Shaper, "rewrites advantages", made=False, many="shapers",
             kit=f"{_KITS}.shapers:check_shaper"),
        Kind("loss", "register_losses", contracts.Loss, "what is minimised", stage=True,
             kit=f"{_KITS}.losses:check_loss"),
        Kind("trainer", "register_trainers", contracts.Trainer, "changes the weights", stage=True,
             kit=f"{_KITS}.trainers:check_trainer"),
        Kind("judge", "register_judges", contracts.Judge, "writes columns before credit", many="judges",
             kit=f"{_KITS}.watching:check_judge"),
        Kind("logger", "register_loggers", contracts.Logger, "takes metrics somewhere", many="loggers",
             kit=f"{_KITS}.watching:check_logger"),
    )
}  # fmt: skip
"""Name of a kind → the kind."""

STAGE_KINDS = tuple(kind.name for kind in KINDS.values() if kind.stage)
"""Kinds of which a stage has one; a stage that does not name its own takes the run's."""

OF_CONTRACT = {kind.contract: kind for kind in KINDS.values() if kind.contract is not object}
"""Contract that a parameter is annotated with → kind of the part that a run file may name for it."""

INJECTED: frozenset[object] = frozenset(
    {*OF_CONTRACT, contracts.Codec, contracts.Player, contracts.Scorer, contracts.Voice, contracts.Demonstrator}
    | {contracts.Seed, contracts.Updates, contracts.Folder, contracts.Splits, contracts.Texts, contracts.SavedCodec}
    | {contracts.Columns}
)
"""Types whose parameters are filled with parts of the run instead of settings."""

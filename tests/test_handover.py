"""Hand-overs: weights arrive at every engine, and an engine that goes on with old ones is found out by a probe."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from test_transformers_policy import fresh, pretrained

import agentrl
from agentrl import AgentRLError, ConfigError, Folder, PolicyFault, Shared, Stream, Version, Weights
from agentrl.parts.handover import Probe
from agentrl.parts.live import accepted
from agentrl_plugins.models.table import Table
from agentrl_plugins.policies.tabular import Tabular
from agentrl_plugins.policies.transformers_policy import TransformersPolicy


class Engine(TransformersPolicy):
    """An engine with weights of its own: copied from the model's at each hand-over, but for what it forgets."""

    forgets = ""
    deaf = False

    def __init__(self, model: Any, **settings: Any) -> None:
        own = copy.deepcopy(model)
        if own.module.config.tie_word_embeddings and self.forgets:  # a head of its own beside the embeddings
            own.module.lm_head.weight = torch.nn.Parameter(own.module.lm_head.weight.detach().clone())
        self.own = own
        super().__init__(own, workers=1, **settings)

    async def refresh(self, weights: Weights) -> None:
        assert isinstance(weights.handle, Shared)
        source: Any = weights.handle.model
        if not self.deaf:
            fresh_weights = source.module.state_dict()
            with torch.no_grad():
                for name, parameter in self.own.module.named_parameters(remove_duplicate=False):
                    if not (self.forgets and self.forgets in name):
                        parameter.copy_(fresh_weights[name])
        self.own.version = weights.version
        await super().refresh(Weights(weights.version, Shared(self.own)))


class Deaf(Engine):
    """Says that it took the weights over, and goes on with those it had."""

    deaf = True


class OldHead(Engine):
    forgets = "lm_head"


def trained(model: Any, by: float = 0.02) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(p for p in model.module.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)), alpha=by)


def hand_over(model: Any, engines: list[Any], updates: int = 2, by: float = 0.02) -> dict[str, float]:
    """The probe's metrics after so many updates, the first before any training."""
    probe = Probe()

    async def all_of_them() -> None:
        for update in range(updates):
            if update:
                trained(model, by)
            await probe.refresh(engines, await model.publish(update, Shared), model)

    asyncio.run(all_of_them())
    return probe.metrics()


@pytest.mark.parametrize("tied", [False, True])
def test_engines_that_take_the_weights_over_agree_with_the_model(tied: bool) -> None:
    model = fresh(tied=tied)
    metrics = hand_over(model, [Engine(model), TransformersPolicy(model)], updates=3)
    assert metrics["probe/gap_max"] < 1e-5
    assert metrics["probe/moved"] > 1e-3


@pytest.mark.parametrize("engine", [Deaf, OldHead])
@pytest.mark.parametrize("tied", [False, True])
def test_an_engine_that_kept_old_weights_is_found_out(engine: type[Engine], tied: bool) -> None:
    model = fresh(tied=tied)
    with pytest.raises(PolicyFault, match=f"{engine.__name__} answers with other weights than the model has.*--resume"):
        hand_over(model, [TransformersPolicy(model), engine(model)])


def test_an_engine_without_the_adapter_is_found_out(tmp_path: Path) -> None:
    fresh().write(tmp_path / "base")
    model = pretrained(path=str(tmp_path / "base"), lora_rank=4)
    assert hand_over(model, [TransformersPolicy(model)])["probe/gap_max"] < 1e-5

    class Bare(TransformersPolicy):
        async def refresh(self, weights: Weights) -> None:
            base = copy.deepcopy(model)
            with torch.no_grad():
                for name, parameter in base.module.named_parameters():
                    if "lora_B" in name:
                        parameter.zero_()
            base.version = weights.version
            await super().refresh(Weights(weights.version, Shared(base)))

    with pytest.raises(PolicyFault, match="Bare answers with other weights"):
        hand_over(model, [Bare(model)])


def test_where_the_weights_hardly_moved_the_probe_proves_nothing_and_says_how_far_they_did() -> None:
    model = fresh()
    metrics = hand_over(model, [Deaf(model)], by=1e-8)
    assert metrics["probe/moved"] < 1e-5


def test_an_engine_that_reports_another_version_is_found_out_whatever_it_answers() -> None:
    class Silent(TransformersPolicy):
        async def refresh(self, weights: Weights) -> None:
            """Nothing happens."""

    model = fresh()
    with pytest.raises(
        PolicyFault, match=r"Silent still has the weights Version\(.*update=0\) after it was handed .*update=1"
    ):
        hand_over(model, [Silent(model)])


def test_a_version_is_more_than_a_number() -> None:
    model = fresh()
    model.version = Version("run", "died", "model", 3)
    policy = TransformersPolicy(model)
    again = copy.deepcopy(model)
    again.version = Version("run", "lives", "model", 3)
    weights = asyncio.run(again.publish(3, Shared))
    assert policy.version != weights.version
    assert policy.version.update == weights.version.update


def test_greedy_engines_are_handed_weights_without_a_comparison() -> None:
    model = fresh()
    assert "probe/gap_max" not in hand_over(model, [TransformersPolicy(model, temperature=0.0)])


def test_a_model_that_cannot_score_is_handed_over_by_its_version() -> None:
    model = Table()
    assert hand_over_table(model) == {}


def hand_over_table(model: Table) -> dict[str, float]:
    probe = Probe()
    policy = Tabular(model, agentrl.default_host().build(agentrl.Spec("dialect", "plain")))
    asyncio.run(probe.refresh([policy], asyncio.run(model.publish(4, Shared)), model))
    assert policy.version == Version(update=4)
    return probe.metrics()


def test_the_way_that_all_engines_know_is_taken() -> None:
    class Ways:
        def __init__(self, *ways: type) -> None:
            self.accepts = frozenset(ways)

    assert accepted([]) is Shared
    assert accepted([Ways(Shared, Folder), Ways(Folder, Stream)]) is Folder  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="take weights over in no common way"):
        accepted([Ways(Shared), Ways(Folder)])  # type: ignore[list-item]


def test_a_run_ends_where_its_engine_goes_on_with_old_weights(tmp_path: Path) -> None:
    class DeafPolicy(Deaf):
        def __init__(self, model: agentrl.Model, *, max_tokens: int = 4) -> None:
            super().__init__(model, max_tokens=max_tokens)

    tables = {
        "name": "deaf", "seed": 1, "runs": str(tmp_path), "environment": "corridor",
        "model": {"name": "tiny", "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8},
        "policy": {}, "trainer": {"name": "packed", "learning_rate": 0.01}, "loss": "nll",
        "player": {"max_turns": 3}, "sampler": {"name": "uniform", "tasks": 2}, "stages": [{"updates": 3}],
    }  # fmt: skip
    with pytest.raises(AgentRLError, match="DeafPolicy answers with other weights"):
        agentrl.train(tables, parts={"policy": DeafPolicy})
    assert [path.name for path in (tmp_path / "deaf/updates").iterdir()] == []  # nothing was committed after it

"""The trainer's optimiser: which weights Muon steps, also where one weight holds the matrices of many experts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

from agentrl_plugins.trainers.optimizers import Kind, Optimizer, Rates, Schedule
from agentrl_plugins.trainers.workers import Workers

RATES = Rates(learning_rate=1e-3, matrix_learning_rate=0.02, weight_decay=0.1, betas=(0.9, 0.95), clip_norm=None)


def experts(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = MixtralConfig(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                           num_key_value_heads=1, num_local_experts=3, num_experts_per_tok=2)  # fmt: skip
    return MixtralForCausalLM(config).to(dtype)


def optimizer(module: torch.nn.Module, base: Any, kind: Kind = "muon") -> Optimizer:
    return Optimizer(module, base, kind, RATES, Schedule("constant", 0, None))


def gradients(of: Optimizer, seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(parameter.shape, generator=random) for parameter in of.parameters]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_matrices_of_experts_are_stepped_one_by_one_as_muon_would(dtype: torch.dtype) -> None:
    module = experts(dtype)
    names = [name for name, _ in module.named_parameters()]
    stepped = [name for name, weight in module.named_parameters() if weight.ndim == 3]
    assert stepped, "the library no longer keeps experts in one weight; find another model"
    before = {name: weight.detach().float().clone() for name, weight in module.named_parameters()}
    own = optimizer(module, module)
    sums = [gradients(own, step) for step in range(2)]
    for gradient in sums:
        own.step([part.clone() for part in gradient], 0, 1, Workers(1))
    after = dict(module.named_parameters())
    for name in stepped:
        for expert, matrix in enumerate(before[name]):
            alone = torch.nn.Parameter(matrix)
            muon = torch.optim.Muon([alone], RATES.matrix_learning_rate, RATES.weight_decay)
            for gradient in sums:
                alone.grad = gradient[names.index(name)][expert].clone()
                muon.step()
            torch.testing.assert_close(after[name][expert].float(), alone.to(dtype).float(), rtol=0, atol=1e-6)


def test_embeddings_convolutions_and_biases_of_experts_take_adamw() -> None:
    class Base(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(9, 4)
            self.convolution = torch.nn.Conv1d(4, 4, 3)
            self.gate_up_proj_bias = torch.nn.Parameter(torch.zeros(3, 8))
            self.mix = torch.nn.Parameter(torch.zeros(1, 1, 4))
            self.inner = torch.nn.Linear(4, 4, bias=False)

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.embedding

        def get_output_embeddings(self) -> None:
            return None

    module = Base()
    sizes = [[list(weight.shape) for group in part.param_groups for weight in group["params"]]
             for part, _ in optimizer(module, module)._parts]  # fmt: skip
    assert sizes[1:] == [[[4, 4]]]
    assert len(sizes[0]) == 5


def test_a_state_with_experts_comes_back_exactly() -> None:
    whole, first = experts(), experts()
    one, two = optimizer(whole, whole), optimizer(first, first)
    for step in range(3):
        one.step(gradients(one, step), 0, 1, Workers(1))
    two.step(gradients(two, 0), 0, 1, Workers(1))
    again = experts()
    again.load_state_dict(first.state_dict())
    three = optimizer(again, again)
    three.restore(two.state())
    for step in (1, 2):
        three.step(gradients(three, step), 0, 1, Workers(1))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name

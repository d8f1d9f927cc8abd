"""Every installed plugin of every kind is put through the kit of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import planted_sound
import pytest
from mcp_support import listening

from agentrl import ConfigError, Register, Spec, default_host
from agentrl.parts.host import Host
from agentrl.parts.kinds import KINDS
from agentrl.testing import check_environment, check_part

HOST = default_host()
ELSEWHERE = {
    ("sandbox", name): "takes minutes; tests/test_sandbox_contract.py and test_sandbox_escapes.py run the kit check by check"
    for name in ("local", "bubblewrap", "docker", "pool")
} | {
    ("policy", "human"): "needs somebody to ask",
}  # fmt: skip
"""Plugins that are not checked here, and why."""

TINY = {"name": "tiny", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "vocabulary": 300}
SETTINGS: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("model", "tiny"): {key: value for key, value in TINY.items() if key != "name"} | {"keep_initial": True},
    ("policy", "tabular"): {"model": "table"},
    ("policy", "transformers"): {"model": TINY, "workers": 1},
    ("loss", "sum"): {"parts": [{"name": "ppo", "weight": 0.5}, {"name": "ppo", "clip_high": 0.3, "weight": 0.5}]},
    ("trainer", "tabular"): {"model": "table"},
    ("trainer", "packed"): {"model": TINY, "loss": "ppo", "workers": 1},
}
"""What a plugin is checked with, where that is not its defaults."""


def installed(*kinds: str) -> list[tuple[str, str]]:
    return [(kind, entry.name) for kind in kinds for entry in HOST.registry(kind)]


@pytest.fixture
def mcp_server() -> Iterator[str]:
    """The world `mcp` is nothing without a server."""
    with listening() as url:
        yield url


@pytest.mark.parametrize("name", [name for _, name in installed("environment")])
def test_every_world_conforms(name: str, request: pytest.FixtureRequest) -> None:
    """A world whose library, data or sandbox is not here is skipped with its own words."""
    settings = {"url": request.getfixturevalue("mcp_server"), "reset_tool": "clear"} if name == "mcp" else {}
    spec = Spec("environment", name, settings)
    try:
        world = HOST.build(spec)
        world.step(str(world.reset(seed=0)[1].get("admissible", ["test"])[0]))  # some notice only now
        world.close()
    except ConfigError as missing:
        pytest.skip(str(missing))
    report = check_environment(spec, actions=200 if world.unwrapped.blocks else 1_000)
    assert report.passed, report.failures


@pytest.mark.parametrize(("kind", "name"), installed(*(kind for kind in KINDS if kind != "environment")))
def test_every_part_conforms(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    if (kind, name) in ELSEWHERE:
        pytest.skip(ELSEWHERE[kind, name])
    settings = SETTINGS.get((kind, name), {})
    if name == "pretrained":
        settings = {"path": request.getfixturevalue("pretrained")}
    report = check_part(Spec(kind, name, settings), HOST)
    assert report.passed, report.failures


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("credit", "gigpo", {"similarity": 0.9}),
        ("credit", "gigpo", {"statistics": "turn", "std": True}),
        ("credit", "return_to_go", {"baseline": "turn", "gamma": 0.9}),
        ("credit", "return_to_go", {"baseline": "none"}),
        ("loss", "nll", {"observations": 0.5}),
        ("loss", "nll", {"weighting": "advantage"}),
        ("loss", "ppo", {"reference_weight": 0.1, "entropy_weight": 0.01}),
        ("loss", "sum", {"parts": [{"name": "ppo"}, {"name": "nll", "weight": 0.1}]}),
        ("trainer", "packed", {"model": TINY, "loss": "nll", "optimizer": "muon", "turns": 1}),
        ("trainer", "tabular", {"model": "table", "optimizer": "gradient"}),
        ("model", "tiny", {**SETTINGS["model", "tiny"], "history": "as_sampled"}),
        ("policy", "transformers", {"model": TINY, "temperature": 0.7, "top_k": 20}),
        ("context", "window", {"last": 0}),
        ("collector", "asynchronous", {"group_size": 4}),
        ("dialect", "tags", {"require_think": False}),
    ],
)  # fmt: skip
def test_parts_conform_with_other_settings(kind: str, name: str, settings: Mapping[str, object]) -> None:
    report = check_part(Spec(kind, name, settings), HOST)
    assert report.passed, report.failures


def test_what_is_not_checked_here_is_installed_and_has_a_reason() -> None:
    assert set(ELSEWHERE) <= set(installed(*KINDS))


class Newest(planted_sound.Newest):
    """Its budget is a setting."""

    def __init__(self, *, budget: int) -> None:
        self.budget = budget


class Careless(Newest):
    """Keeps the budget that one is likely to try."""

    def __init__(self, *, budget: int) -> None:
        super().__init__(budget=max(budget, 1_000))


@pytest.mark.parametrize(("context", "failures"), [(Newest, []), (Careless, ["no_prompt_is_larger_than_its_budget"])])
def test_a_budget_that_can_be_set_is_set(context: type, failures: list[str]) -> None:
    class Plugin:
        def register_contexts(self, register: Register) -> None:
            register("newest", context)

    report = check_part(Spec("context", "newest", {"budget": 5_000}), Host({"plugin": Plugin()}))
    assert [result.check for result in report.failures] == failures


def test_a_part_that_no_sample_fits_says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="agentrl check trainer packed model=NAME"):
        check_part(Spec("trainer", "packed"), HOST)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model folder, as the hub would give one."""
    from agentrl.testing.samples import sample_scope

    folder = tmp_path_factory.mktemp("pretrained")
    HOST.build(Spec("model", "tiny", SETTINGS["model", "tiny"]), sample_scope()).write(folder)
    return str(folder)

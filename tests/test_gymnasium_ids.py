"""`import agentrl` is all that Gymnasium needs: ids, checks, wrappers and vector environments."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import agentrl

HOUSEHOLD = "agentrl/household-v0"


def test_import_agentrl_registers_every_installed_world() -> None:
    worlds = [
        p.name.removeprefix("environment.") for p in entry_points(group="agentrl") if p.name.startswith("environment.")
    ]
    assert "household" in worlds
    assert {f"agentrl/{name}-v0" for name in worlds} <= set(gymnasium.registry)


def test_gymnasiums_checker_passes_in_a_fresh_process_that_only_imports_agentrl() -> None:
    lines = (
        "import agentrl, gymnasium, sys, warnings",
        "assert not [m for m in sys.modules if m.startswith(('agentrl_envs', 'agentrl_plugins', 'torch'))], 'eager'",
        "from gymnasium.utils.env_checker import check_env",
        "warnings.simplefilter('error')",
        "warnings.filterwarnings('ignore', message='.*No render fps.*')",
        f"check_env(gymnasium.make({HOUSEHOLD!r}).unwrapped)",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("env_id", [HOUSEHOLD, "agentrl/corridor-v0"])
def test_gymnasiums_checker_passes(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*No render fps.*")
        check_env(gymnasium.make(env_id).unwrapped)


@pytest.mark.parametrize(
    ("mode", "options"), [("sync", {}), ("async", {"shared_memory": False})], ids=["sync", "async"]
)
def test_gymnasiums_vector_environments_play_whole_texts(mode: str, options: dict[str, Any]) -> None:
    alone = gymnasium.make(HOUSEHOLD)
    vector = gymnasium.make_vec(HOUSEHOLD, num_envs=2, vectorization_mode=mode, vector_kwargs=options)
    try:
        observations, infos = vector.reset(seed=5)
        expected, info = alone.reset(seed=5)
        assert observations[0] == expected
        for _ in range(10):
            actions = [admissible[-1] for admissible in infos["admissible"]]
            assert actions[0] == info["admissible"][-1]
            observations, rewards, *_, infos = vector.step(actions)
            expected, reward, *_, info = alone.step(actions[0])
            assert (observations[0], rewards[0]) == (expected, reward)
    finally:
        vector.close()


def test_settings_reach_the_world_and_wrong_ones_are_refused() -> None:
    env = gymnasium.make("agentrl/corridor-v0", length=30)
    assert "of 29" in env.reset(seed=0)[0]
    with pytest.raises(agentrl.ConfigError, match="Did you mean 'length'"):
        gymnasium.make("agentrl/corridor-v0", lenght=30)


def test_gymnasiums_wrappers_work() -> None:
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.TimeLimit(gymnasium.make(HOUSEHOLD), 3))
    env.reset(seed=0)
    for _ in range(3):
        *_, truncated, info = env.step("look")
    assert truncated
    assert info["episode"]["l"] == 3

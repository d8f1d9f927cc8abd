"""The household world keeps the contract of worlds: Gymnasium, snapshots, hostile text, settings, speed."""

import pickle
import random
import time
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import agentrl
from agentrl_envs.household.catalogue import CLEAN, HEAT, PICK, TWO
from agentrl_envs.household.world import Household

SMALL: dict[str, Any] = {
    "rooms": ("kitchen",),
    "receptacles": (6, 8),
    "object_types": (8, 8),
    "task_types": (PICK, CLEAN, HEAT, TWO),
    "max_turns": 30,
}
KITCHEN: dict[str, Any] = {"rooms": ("kitchen",), "receptacles": (30, 30)}


def play_from(env: Household, snapshot: object, seed: int) -> list[Any]:
    """Everything seen in 25 turns of mixed play that begins with a snapshot."""
    env.restore(snapshot)
    choose = random.Random(seed)
    steps: list[Any] = [env.step("look")]
    for turn in range(25):
        action = env.expert_action() if turn % 2 else choose.choice(steps[-1][4]["admissible"])
        steps.append((action, *env.step(action)))
        steps.append(env.step("look"))
    return steps


def test_a_snapshot_restores_any_number_of_times_and_on_another_instance() -> None:
    env, other = Household(anchor="state", max_turns=80), Household(anchor="state", max_turns=80)
    for seed in range(20):
        env.reset(seed=seed)
        for _ in range(seed % 7):
            env.step(env.expert_action())
        snapshot = env.snapshot()
        travelled = pickle.loads(pickle.dumps(snapshot))
        first = play_from(env, snapshot, seed)
        assert play_from(env, snapshot, seed) == first
        assert play_from(other, snapshot, seed) == first
        assert play_from(other, travelled, seed) == first
        following = env.reset()
        other.restore(travelled)
        assert other.reset() == following


def test_gymnasium_accepts_the_world() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*No render fps.*")
        check_env(gymnasium.make("agentrl/household-v0").unwrapped)


@pytest.mark.parametrize(
    ("mode", "options"), [("sync", {}), ("async", {"shared_memory": False})], ids=["sync", "async"]
)
def test_vector_environments_run_it(mode: str, options: dict[str, Any]) -> None:
    envs = gymnasium.make_vec(
        "agentrl/household-v0", num_envs=3, vectorization_mode=mode, vector_kwargs=options, max_turns=4
    )
    try:
        observations, info = envs.reset(seed=1)
        assert [text[:14] for text in observations] == ["-= Welcome to "] * 3
        for _ in range(4):
            *_, truncations, info = envs.step(["look", "inventory", info["admissible"][2][0]])
        assert truncations.all()
        assert envs.step(envs.action_space.sample())[0][0].startswith("-= Welcome")
    finally:
        envs.close()


def test_steps_before_the_first_reset_are_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        Household().step("look")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"receptacles": (8, 6)}, "receptacles = "),
        ({"copies": (0, 1)}, "copies = "),
        ({"max_turns": 0}, "max_turns = "),
        ({"objects": ("mugg",)}, "Did you mean 'mug'"),
        ({"rooms": ("bedroom",), "task_types": (HEAT,)}, "none of the rooms"),
        ({"objects": ("towel",), "rooms": ("bathroom",)}, "no room for a task"),
    ],
)
def test_settings_that_allow_no_task_are_refused(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(agentrl.ConfigError, match=message):
        Household(**recipe)


def test_it_is_fast_enough() -> None:
    env = Household(**KITCHEN)
    actions = _recorded(env, tasks=60)
    best_step = min(_seconds_per_step(env, actions) for _ in range(3))
    assert best_step < 1 / 50_000
    env.reset(seed=0)
    start = time.process_time()
    for _ in range(2000):
        env.restore(env.snapshot())
    assert (time.process_time() - start) / 2000 < 50e-6


def _recorded(env: Household, tasks: int) -> list[list[str]]:
    choose, recorded = random.Random(0), []
    for index in range(tasks):
        info, actions, over = env.reset(options={"split": "train", "index": index})[1], [], False
        while not over:
            actions.append(choose.choice(info["admissible"]))
            *_, terminated, truncated, info = env.step(actions[-1])
            over = terminated or truncated
        recorded.append(actions)
    return recorded


def _seconds_per_step(env: Household, recorded: list[list[str]]) -> float:
    seconds = 0.0
    for index, actions in enumerate(recorded):
        env.reset(options={"split": "train", "index": index})
        start = time.process_time()
        for action in actions:
            env.step(action)
        seconds += time.process_time() - start
    return seconds / sum(map(len, recorded))


def test_hostile_text_does_nothing() -> None:
    env = Household(**SMALL)
    env.reset(seed=0)
    for text in ("", " ", "\n", "go to", "go to fridge 1\nlook", "\0", "🚪" * 100_000, "go to \u0301", "{thing}", "%s"):
        assert env.step(text)[0] == "Nothing happens."


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.lists(
        st.sampled_from(["go", "to", "take", "from", "with", "1", "-1", "fridge", "mug", "open", "", "clean"])
    ).map(" ".join)
)
def test_no_text_breaks_the_world(text: str) -> None:
    env = Household(**SMALL)
    env.reset(options={"split": "train", "index": 3})
    observation, reward, terminated, truncated, info = env.step(text)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert (observation == "Nothing happens.") == bool(info["invalid"])

"""Credits on one worked batch, to six digits: numbers that were written down before the code was.

Group g0 holds a (anchors s0 s1 s2, rewards 0 0 10, a success), b (s0 s1, rewards 0 0, a turn limit) and c (s0 s3, rewards
0 10, a success); group g1 holds d (s9, reward 10). Two sampled tokens per turn, unless it is said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agentrl import Advantages, Completion, ConfigError, DataError, Final, Outcome, Task, Trajectory, Turn, default_host
from agentrl.parts.registry import Spec

PLAYS = {
    "a": ("g0", "s0 s1 s2", (0.0, 0.0, 10.0), Outcome.TERMINATED),
    "b": ("g0", "s0 s1", (0.0, 0.0), Outcome.TURN_LIMIT),
    "c": ("g0", "s0 s3", (0.0, 10.0), Outcome.TERMINATED),
    "d": ("g1", "s9", (10.0,), Outcome.TERMINATED),
}


def said(tokens: int = 2, **arrays: Any) -> Completion:
    ids = np.zeros(tokens, np.int32)
    return Completion("go", ids, ids, arrays.pop("logprobs", np.zeros(tokens, np.float32)), None, ids, **arrays)


def batch(
    infos: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    completions: Mapping[str, Sequence[Completion]] | None = None,
) -> list[Trajectory]:
    """The worked batch, with more in `info`, or other completions, of some trajectories."""
    played = []
    for name, (group, anchors, rewards, outcome) in PLAYS.items():
        turns = []
        for index, (anchor, reward) in enumerate(zip(anchors.split(), rewards, strict=True)):
            info = dict((infos or {}).get(name, [{}] * len(rewards))[index])
            last = index == len(rewards) - 1
            info |= {"success": outcome is Outcome.TERMINATED} if last else {}
            parts = {"goal": reward, "format": float(last and name in "ab")}
            completion = (completions or {}).get(name, [said()] * len(rewards))[index]
            turns.append(Turn(anchor, completion, "go", reward, anchor, parts, info=info))
        final = Final("s4", "s4") if name == "b" else None
        played.append(Trajectory(tuple(turns), Task("train", 0), group, outcome, member=len(played), final=final))
    return played


def credit(name: str, **settings: Any) -> Callable[[Sequence[Trajectory]], Advantages]:
    return default_host().build(Spec("credit", name, settings))  # type: ignore[return-value]


def flat(advantages: Advantages) -> dict[str, list[float]]:
    return {
        name: np.concatenate([np.atleast_1d(v) for v in each]).tolist()
        for name, each in zip("abcd", advantages, strict=False)
    }


def agree(advantages: Advantages, **expected: list[float]) -> None:
    found = flat(advantages)
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, abs=2e-6), name


def test_turnwise() -> None:
    agree(credit("turnwise")(batch()), a=[5, 5, 10], b=[-10, -10], c=[5, 5], d=[0])
    z = [0.577350, 0.577350, 1.154700]
    agree(credit("turnwise", baseline="z")(batch()), a=z, b=[-1.154700] * 2, c=z[:2], d=[0])
    dropped = credit("turnwise", baseline="z", absent="drop", lone="zero")(batch())
    agree(dropped, a=[0.577350, 0.577350, 0], b=[-1.154700] * 2, c=z[:2])


def test_what_is_dropped_keeps_its_own_value_where_it_is_alone() -> None:
    agree(credit("turnwise", absent="drop")(batch()), a=[5, 5, 10], d=[10])


MILESTONES: dict[str, list[dict[str, object]]] = {
    "a": [{}, {"milestones": ("found",)}, {"milestones": ("found", "taken")}],
    "c": [{}, {"milestones": ("found",)}],
}


def test_milestones() -> None:
    played = batch(MILESTONES)
    agree(
        credit("milestones")(played),
        a=[6.333333, 6.833333, 3.333333], b=[-13.166667] * 2, c=[6.333333, 6.833333], d=[0],
    )  # fmt: skip
    agree(credit("milestones", std=True)(played), a=[1.172607, 1.271816, 0.577350], b=[-2.444423] * 2)


def test_milestones_of_which_several_come_at_once_are_one_event_and_their_order_can_be_told_apart() -> None:
    at_once = batch({"a": [{}, {"milestones": ("found", "taken")}, {"milestones": ("found", "taken")}]})
    alone = credit("milestones", weight=1.0)(at_once)
    assert flat(alone)["a"][2] == pytest.approx(10 / 3)  # nothing comes after the last one
    crossed = batch({
        "a": [{"milestones": ("found",)}, {"milestones": ("found", "lit")}, {"milestones": ("found", "lit")}],
        "c": [{"milestones": ("lit",)}, {"milestones": ("lit", "found")}],
    })  # fmt: skip
    by_count, by_set = (flat(credit("milestones", key=key)(crossed)) for key in ("count", "set"))
    assert by_count["a"][1] == by_set["a"][1] == pytest.approx(10 / 3)  # both close at once, or are alone
    assert by_set["c"][1] == pytest.approx(10 / 3)


def test_strata() -> None:
    agree(credit("strata", by="turns", alpha=1.0)(batch()), a=[0] * 3, b=[-0.707107] * 2, c=[0.707107] * 2, d=[0])
    agree(credit("strata", by="turns")(batch()), a=[0.288675] * 3, b=[-0.930904] * 2, c=[0.642228] * 2)
    whole, grpo = credit("strata", alpha=0.0)(batch()), credit("grpo")(batch())
    assert flat(whole) == flat(grpo)


def test_strata_of_calls_and_of_their_errors() -> None:
    looked, failed = {"calls": [{"name": "look", "error": ""}]}, {"calls": [{"name": "look", "error": "no"}]}
    played = batch({"a": [looked, {}, {}], "b": [failed, {}], "c": [{}, looked]})
    assert flat(credit("strata", by="calls", alpha=1.0)(played))["b"][0] < 0  # all three called once
    assert flat(credit("strata", by="errors", alpha=1.0)(played))["b"] == [0, 0]  # alone with its error


def test_decoupled() -> None:
    played = batch()
    raw, token = credit("decoupled", whiten="none"), credit("decoupled", weighting="token")
    agree(raw(played), a=[1.154699] * 3, b=[-0.577351] * 2, c=[-0.577348] * 2, d=[0])
    agree(token(played), a=[1.217315] * 3, b=[-0.869512] * 2, c=[-0.869509] * 2, d=[-0.173902])
    whitened = credit("decoupled", weighting="trajectory")(played)
    agree(whitened, a=[1.414212] * 3, b=[-0.707108] * 2, c=[-0.707104] * 2, d=[0])
    agree(credit("decoupled", whiten="scale")(played), d=[0])


CALLS: dict[str, list[dict[str, object]]] = {
    name: [{"calls": [{"name": "look"}] * calls} for calls in each]
    for name, each in {"a": (1, 1, 1), "b": (1, 1), "c": (1, 1), "d": (1,)}.items()
}


def test_conditional() -> None:
    agree(
        credit("conditional")(batch(CALLS)), a=[0.471285] * 3, b=[-1.154699] * 2, c=[0.683413] * 2, d=[0]
    )  # three calls, two, two
    agree(credit("conditional", weight=0.0)(batch(CALLS)), a=[0.577349] * 3, c=[0.577349] * 2)


def test_a_success_without_a_call_is_no_rival_of_those_that_called() -> None:
    """Centred, weight 1: a calls three times (1/4) and c twice (1/3), so a trails their mean by 1/24."""
    played = batch(CALLS)
    idle = replace(played[0], member=9, turns=tuple(replace(turn, info={"success": True}) for turn in played[0].turns))
    found = credit("conditional", std=False, weight=1.0)([*played, idle])
    first = 1 / 4  # three of four succeeded
    assert [each[0] for each in found[:3]] == pytest.approx([first - 1 / 24, -3 / 4, first + 1 / 24])
    assert found[4] == pytest.approx([first] * 3)


def test_token_baseline() -> None:
    chances = {"a": (0.5, 0.8, 0.9), "b": (0.6, 0.4), "c": (0.7, 0.7), "d": (0.5,)}
    squares = {"a": (0.4, 0.7, 0.82), "b": (0.5, 0.3), "c": (0.6, 0.6), "d": (0.5,)}
    one_token = {
        name: [
            said(1, logprobs=np.log([chance]).astype(np.float32), square=np.array([square], np.float32))
            for chance, square in zip(chances[name], squares[name], strict=True)
        ]
        for name in PLAYS
    }
    found = credit("token_baseline")(batch(completions=one_token))
    agree(found, a=[3.333333, 4.705882, 10], b=[-6.666667, -5.294118], c=[3.333333, 4.705882], d=[10])
    with pytest.raises(DataError, match="needs Σ π² of every token"):
        credit("token_baseline")(batch())


def valued(*values: float, rewards: Sequence[float], outcome: Outcome, final: float | None = None) -> Trajectory:
    turns = [
        Turn("", said(), "go", reward, "", columns={"value": value})
        for value, reward in zip(values, rewards, strict=True)
    ]
    columns = {} if final is None else {"final_value": final}
    return Trajectory(tuple(turns), Task("train", 0), "g", outcome, columns=columns)


def test_turn_gae() -> None:
    play = valued(4, 6, 8, rewards=(0, 0, 10), outcome=Outcome.TERMINATED)
    assert credit("turn_gae")([play])[0] == pytest.approx([4.53005, 3.31, 2.0])  # gamma 0.95, trace 0.9


def test_turn_gae_goes_on_past_a_limit_and_says_what_is_missing() -> None:
    cut = valued(4, 6, rewards=(0, 0), outcome=Outcome.TURN_LIMIT, final=8.0)
    assert credit("turn_gae", trace=0.0)([cut])[0] == pytest.approx([0.95 * 6 - 4, 0.95 * 8 - 6])
    with pytest.raises(DataError, match="has no 'final_value'; let a judge"):
        credit("turn_gae")([replace(cut, columns={})])
    with pytest.raises(DataError, match="has no 'value'; let a judge"):
        credit("turn_gae")(batch())


def test_a_spoken_turn_costs_turn_gae_no_discount() -> None:
    play = valued(4, 6, rewards=(0, 10), outcome=Outcome.TERMINATED)
    note = Turn("", said(), "", 0.0, "", kind="speak")
    told = replace(play, turns=(play.turns[0], note, play.turns[1]))
    plain, spoken = credit("turn_gae")([play])[0], credit("turn_gae")([told])[0]
    assert spoken == pytest.approx([plain[0], plain[1], plain[1]])


def test_opo_and_reinforce_plus_plus() -> None:
    mean = 20 / 3
    weighted = 10 * (6 + 4) / (6 + 4 + 4)
    agree(credit("opo")(batch()), a=[10 - weighted] * 3, b=[-weighted] * 2, c=[10 - weighted] * 2, d=[0])
    values, counts = np.array([10, 0, 10, 10.0]), np.array([6, 4, 4, 2])
    tokens = np.repeat(values, counts)
    z = (values - tokens.mean()) / (tokens.std(ddof=1) + 1e-8)
    agree(credit("reinforce_plus_plus")(batch()), a=[z[0]] * 3, b=[z[1]] * 2, c=[z[2]] * 2, d=[z[3]])
    centred = np.array([10 - mean, -mean, 10 - mean, 0])
    tokens = np.repeat(centred, counts)
    z = (centred - tokens.mean()) / (tokens.std(ddof=1) + 1e-8)
    agree(credit("reinforce_plus_plus", baseline="group")(batch()), a=[z[0]] * 3, b=[z[1]] * 2, d=[z[3]])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("milestones", {"gamma": 1.5}), ("strata", {"alpha": -0.1}), ("turn_gae", {"trace": 2.0}),
        ("turnwise", {"gamma": -1.0}),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        credit(name, **settings)(batch(MILESTONES))

"""Case 09: worlds that a vector begins anew keep the options of their reset.

Complained of elsewhere, and true here: after `reset(options={"split": "valid"})` all later episodes were of `train`,
in every mode, so that who measured on held-out tasks measured on others. Only an `index` is for one episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from cases import lamps

from agentrl import vector

VALID = range(24, 31)


def seen_later(envs: Any, actions: int = 20) -> list[int]:
    """The tasks of all episodes that begin by themselves."""
    infos: list[Mapping[str, Any]] = []
    for _ in range(actions):
        infos += envs.step(["nothing"] * envs.num_envs)[-1].each  # each lasts eight turns
    return [int(info["task"], 2) for info in infos if "task" in info]


@pytest.mark.parametrize("mode", ["inline", "threads", "processes"])
def test_episodes_that_begin_by_themselves_are_of_the_split_that_was_asked_for(mode: Any) -> None:
    envs = vector.make(lamps.Lamps, 3, mode=mode)
    try:
        envs.reset(seed=0, options={"split": "valid", "index": 2})
        later = seen_later(envs)
        assert len(later) == 6
        assert set(later) <= set(VALID)
        assert len(set(later)) > 1  # not the one task that was named
        envs.reset(seed=0, options={})
        assert not set(seen_later(envs)) & set(VALID)
    finally:
        envs.close()


def test_a_reset_of_some_worlds_changes_the_options_of_those() -> None:
    envs = vector.make(lamps.Lamps, 2, mode="inline")
    envs.reset(seed=0, options={"split": "valid"})
    envs.reset(options={"reset_mask": np.array([False, True]), "split": "train"})
    later = seen_later(envs)
    assert all(task in VALID for task in later[::2])
    assert not any(task in VALID for task in later[1::2])

"""Registers the trainer `packed`, without importing torch."""

from __future__ import annotations

from typing import Any

import agentrl


@agentrl.hookimpl
def register_trainers(register: Any) -> None:
    register("packed", "agentrl_plugins.trainers.packed_trainer:PackedTrainer")

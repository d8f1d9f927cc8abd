"""Registers the trainer `packed`, without importing torch."""

from __future__ import annotations

import agentrl


@agentrl.hookimpl
def register_trainers(register: agentrl.Register) -> None:
    register("packed", "agentrl_plugins.trainers.packed_trainer:PackedTrainer")

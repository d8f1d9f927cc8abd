"""Registers the in-process policy `transformers`, without importing torch."""

from __future__ import annotations

import agentrl


@agentrl.hookimpl
def register_policies(register: agentrl.Register) -> None:
    register("transformers", "agentrl_plugins.policies.transformers_policy:TransformersPolicy")

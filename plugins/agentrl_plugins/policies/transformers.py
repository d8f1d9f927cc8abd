"""Registers the in-process policy `transformers`, without importing torch."""

from __future__ import annotations

from typing import Any

import agentrl


@agentrl.hookimpl
def register_policies(register: Any) -> None:
    register("transformers", "agentrl_plugins.policies.transformers_policy:TransformersPolicy")

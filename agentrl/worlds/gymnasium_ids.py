"""Registers `agentrl/<world>-v0` with Gymnasium, from entry-point metadata alone: no plugin is loaded."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

PREFIX = "environment."


class _Maker:
    """Builds one world when `gymnasium.make` asks for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, render_mode: str | None = None, **settings: Any) -> Any:
        from agentrl.parts.host import default_host
        from agentrl.parts.registry import Spec

        env = default_host().build(Spec("environment", self.name, settings))
        env.render_mode = render_mode
        return env


def register() -> None:
    """Called by `import agentrl`: Gymnasium 1.4 no longer asks entry points itself."""
    from gymnasium.envs.registration import register as register_id
    from gymnasium.envs.registration import registry

    for point in entry_points(group="agentrl"):
        name = point.name.removeprefix(PREFIX)
        env_id = f"agentrl/{name}-v0"
        if point.name.startswith(PREFIX) and env_id not in registry:
            register_id(id=env_id, entry_point=_Maker(name), disable_env_checker=True, order_enforce=False)

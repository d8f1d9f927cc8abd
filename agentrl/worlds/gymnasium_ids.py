"""Registers `agentrl/<world>-v0` with Gymnasium, from entry-point metadata alone: no plugin is loaded."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PREFIX = "environment."
_REGISTRATION = "gymnasium.envs.registration"


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
    """Called by `import agentrl`: Gymnasium 1.4 no longer asks entry points itself. Waits for Gymnasium to be imported."""
    if _REGISTRATION in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Waits())


def _register() -> None:
    from gymnasium.envs.registration import register as register_id
    from gymnasium.envs.registration import registry

    for point in entry_points(group="agentrl"):
        name = point.name.removeprefix(PREFIX)
        env_id = f"agentrl/{name}-v0"
        if point.name.startswith(PREFIX) and env_id not in registry:
            register_id(id=env_id, entry_point=_Maker(name), disable_env_checker=True, order_enforce=False)


class _Waits(MetaPathFinder):
    """Registers the ids right after Gymnasium's registry was imported, so that light commands need not import it."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != _REGISTRATION:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                _register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec

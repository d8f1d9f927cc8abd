"""The plugins of strangers in examples/third_party, as a host that has them installed would see them."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from agentrl import Host

FOLDER = Path(__file__).parents[1] / "examples/third_party"
PLUGINS = ("graph_credit", "second_try", "reread", "summary_context", "haggle", "guests")


@functools.cache
def plugin(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def host() -> Host:
    made = Host({name: plugin(name) for name in PLUGINS})
    assert not made.broken, made.broken
    return made

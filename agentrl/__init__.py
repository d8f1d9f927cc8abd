"""agentrl: train and evaluate LLM agents over many turns. `__init__.pyi` lists every public name and its module."""

import lazy_loader

from agentrl.worlds.gymnasium_ids import register as _register_ids

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # so that light commands stay light

_register_ids()  # gymnasium.make("agentrl/<world>-v0") works from here on

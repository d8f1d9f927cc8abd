"""Environments of text: their base classes, and how they are stepped."""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach(__name__, submodules=["scoring", "vector"])  # on the face

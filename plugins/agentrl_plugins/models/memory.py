"""Memory: one clear line where torch runs out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from agentrl import PolicyFault


@contextmanager
def out_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Raises PolicyFault in place of torch's error for memory that it could not get; any other error stays as it is."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_memory(error):
            raise
        asked = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
        size = f"; torch asked for {asked[1]}" if asked else ""
        raise PolicyFault(f"out of memory while {doing}{size}: {advice}") from error


def _is_memory(error: Exception) -> bool:
    """CUDA and Python have a type for it; a CPU's allocator, and drivers, only say so."""
    words = ("DefaultCPUAllocator", "not enough memory", "out of memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)

"""Places: where a model is, a folder here or an id on the Hugging Face hub."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from agentrl import ConfigError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_folder(path: str) -> Path | None:
    """The model folder, absolute; None for a hub id. Raises ConfigError for what can be neither."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise ConfigError(
                f"model 'pretrained': the folder {path!r} has no config.json; give the folder that holds the weights, "
                "for a run its model/ folder."
            )
        return folder.resolve()
    if folder.exists() or path.startswith((".", "/", "~")) or not HUB_ID.fullmatch(path):
        raise ConfigError(
            f"model 'pretrained': there is no folder {path!r}. Give an existing Hugging Face model folder, "
            "or a hub id such as 'Qwen/Qwen3-0.6B'."
        )
    return None


@lru_cache
def is_local(source: str) -> bool:
    """A folder, or what only the hub's cache may have: without the hub the library would retry for long."""
    if Path(source).is_dir():
        return True
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(source, timeout=10)
    except Exception:  # offline, unknown or closed to us: which of them makes no difference here
        return True
    return False

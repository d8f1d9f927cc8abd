"""LanguageModel: a Hugging Face causal LM and its tokenizer, shared by the policy and the trainer of one process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from agentrl import ConfigError, DataError
from agentrl_plugins.models.ragged import use_ragged_attention

_SMALL = 50_000_000  # parameters
_EXTRA = "agentrl.json"  # what a Hugging Face folder has no place for
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per checkpoint would write across the display of a run


class LanguageModel:
    """Weights (`module`), `tokenizer` with chat template, and the `version` stamped on every token they sample.

    `module` is the transformers model, or the PeftModel around it when LoRA is on. Its attention takes ragged plans.
    """

    def __init__(self, module: Any, tokenizer: Any, *, version: int = 0) -> None:
        """Raises ConfigError for a tokenizer without a chat template or without a fast backend."""
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(f"{name} has no chat template, so dialogues cannot be written; use an instruct model.")
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ConfigError(f"{name} is no fast tokenizer; save it as one (tokenizer.json) first.")
        self.module = module
        self.tokenizer = tokenizer
        self.version = version
        use_ragged_attention(self.base)
        module.eval()

    @property
    def lora(self) -> bool:
        """Whether only an adapter is trained and saved."""
        return hasattr(self.module, "peft_config")

    @property
    def base(self) -> Any:
        """The transformers model itself, also where an adapter is wrapped around it."""
        return self.module.get_base_model() if self.lora else self.module

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.module.parameters()).device
        return found

    @property
    def one_core_workers(self) -> int | None:
        """How many threads, each computing on one core, suit this model; None where one operation should have all cores.

        Operations of a small model are too short to be spread over cores: threads that share one wait for each other
        more than they work, and on busy cores they all but stop.
        """
        if self.device.type != "cpu" or sum(p.numel() for p in self.module.parameters()) >= _SMALL:
            return None
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def max_context(self) -> int:
        """The longest sequence these weights were made for."""
        return int(getattr(self.base.config, "max_position_embeddings", 0) or 2048)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end a completion: the tokenizer's end and those of the generation config."""
        ends = self.base.generation_config.eos_token_id if self.base.generation_config is not None else None
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        if self.tokenizer.eos_token_id is not None:
            ends.append(self.tokenizer.eos_token_id)
        return frozenset(ends)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder: weights (or the LoRA adapter alone), tokenizer, chat template."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / _EXTRA).write_text(json.dumps({"version": self.version}) + "\n")

    def load(self, folder: Path) -> None:
        """Take over, in place and bit by bit, weights and version of a folder that `save` wrote.

        Raises DataError for a folder that is incomplete, damaged or of another shape.
        """
        folder = Path(folder)
        try:
            fresh = self._adapter(folder) if self.lora else self._weights(folder)
            version = json.loads((folder / _EXTRA).read_text())["version"]
        except Exception as error:  # safetensors raises a bare subclass of Exception for a damaged file
            raise DataError(f"{folder} holds no weights that can be read ({type(error).__name__}: {error})") from error
        own = dict(self.module.state_dict(keep_vars=True))
        wrong = [name for name, value in fresh.items() if name not in own or own[name].shape != value.shape]
        if wrong or not fresh:
            raise DataError(f"{folder} was written by a model of another shape: {', '.join(wrong[:3]) or 'no weights'}")
        with torch.no_grad():
            for name, value in fresh.items():
                own[name].copy_(value)
        self.version = int(version)

    def _weights(self, folder: Path) -> dict[str, torch.Tensor]:
        # Through from_pretrained, because the library may store weights under other names than the module has.
        dtype = next(self.module.parameters()).dtype
        fresh = type(self.module).from_pretrained(folder, dtype=dtype, local_files_only=True)
        return dict(fresh.state_dict())

    def _adapter(self, folder: Path) -> dict[str, torch.Tensor]:
        from peft.utils.save_and_load import load_peft_weights

        stored = load_peft_weights(str(folder), device="cpu")
        # The file leaves the adapter's name out of each key: "….lora_A.weight" is "….lora_A.default.weight" here.
        return {f"{stem}.default.{leaf}": value for (stem, _, leaf), value in _split(stored)}


def _split(stored: dict[str, torch.Tensor]) -> list[tuple[tuple[str, str, str], torch.Tensor]]:
    return [(name.rpartition("."), value) for name, value in stored.items()]

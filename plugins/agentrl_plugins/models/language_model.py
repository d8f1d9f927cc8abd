"""LanguageModel: a Hugging Face causal LM and its codec; owner of the weights and of their version."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from agentrl import ConfigError, DataError, Folder, Question, Scores, Shared, Stream, Version, Weights
from agentrl_plugins.models.memory import out_of_memory
from agentrl_plugins.models.questions import answer
from agentrl_plugins.models.ragged import use_ragged_attention
from agentrl_plugins.models.template_codec import History, TemplateCodec

_SMALL = 50_000_000  # parameters
_EXTRA = "agentrl.json"  # what a Hugging Face folder has no place for
_INITIAL = "initial.pt"
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per checkpoint would write across the display of a run


class LanguageModel:
    """Weights (`module`), the `codec` that turns dialogues into ids, and the `version` of the weights.

    `module` is the transformers model, or the PeftModel around it when LoRA is on. Its attention takes ragged plans.
    With `keep_initial` the weights it began with are kept too, so that a scorer may ask for "initial"; under a fresh
    adapter they are the base model, and cost nothing.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        history: History = "template",
        keep_initial: bool = False,
        fresh_adapter: bool = False,
        codec: TemplateCodec | None = None,
    ) -> None:
        """Raises ConfigError for a tokenizer without a chat template or without a fast backend."""
        self.module = module
        self.version = Version()
        self.codec = codec or TemplateCodec(tokenizer, self._stop_ids(tokenizer), self.max_context, history)
        use_ragged_attention(self.base)
        module.eval()
        self._keep_initial, self._fresh_adapter = keep_initial, fresh_adapter
        self._initial: Any = self._frozen() if keep_initial and not fresh_adapter else None
        self._asked: dict[str, float] = defaultdict(float)
        self._handed_out: Path | None = None

    @property
    def tokenizer(self) -> Any:
        """The codec's tokenizer."""
        return self.codec.tokenizer

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
        device: torch.device = next(self.module.parameters()).device
        return device

    @property
    def rounded(self) -> bool:
        """Whether the weights have fewer digits than float32."""
        return bool(next(self.module.parameters()).dtype != torch.float32)

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
        return self.codec.stop_ids

    def _stop_ids(self, tokenizer: Any) -> frozenset[int]:
        ends = self.base.generation_config.eos_token_id if self.base.generation_config is not None else None
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        own = getattr(tokenizer, "eos_token_id", None)
        return frozenset(ends if own is None else [*ends, own])

    async def publish(self, update: int, via: type[Shared] | type[Folder] | type[Stream]) -> Weights:
        """Shared: engines of this process read the module itself. Folder: a new one in RAM, where there is RAM to mount.

        The folder before it is deleted: whoever was handed it has taken it over by now.
        """
        if via not in (Shared, Folder):
            raise ConfigError(f"this model hands its weights out as Shared or Folder, not as {via.__name__}")
        self.version = dataclasses.replace(self.version, update=update)
        if via is Shared:
            return Weights(self.version, Shared(self))
        ram = Path("/dev/shm")
        parent = ram if os.access(ram, os.W_OK) else None
        folder = Path(tempfile.mkdtemp(prefix=f"weights-{update}-", dir=parent))
        await self.save(folder)
        self.close()
        self._handed_out = folder
        return Weights(self.version, Folder(folder))

    def close(self) -> None:
        """Delete the folder that was handed out last; safe twice."""
        if self._handed_out is not None:
            shutil.rmtree(self._handed_out, ignore_errors=True)
            self._handed_out = None

    async def score(
        self,
        questions: Sequence[Question],
        *,
        weights: str = "current",
        top: int = 0,
        moments: bool = False,
        features: bool = False,
    ) -> list[Scores]:
        """Log-probs of given tokens; `weights`: "current" or "initial". Raises ConfigError for weights it does not keep."""
        started = time.perf_counter()
        advice = "ask for fewer or shorter ones at once, or take a smaller model"
        with out_of_memory(f"scoring {len(questions)} questions", advice), self._weights_named(weights) as module:
            scores = answer(module, questions, top=top, moments=moments, features=features)
        self._asked["questions"] += len(questions)
        self._asked["question_tokens"] += sum(len(q.prompt_ids) + len(q.ids) for q in questions)
        self._asked["question_seconds"] += time.perf_counter() - started
        return scores

    def metrics(self) -> dict[str, float]:
        """What scoring cost since the last call."""
        asked, self._asked = self._asked, defaultdict(float)
        return dict(asked)

    @contextlib.contextmanager
    def _weights_named(self, name: str) -> Iterator[Any]:
        if name == "current":
            yield self.module
        elif name == "initial" and self._fresh_adapter:
            with self.module.disable_adapter():
                yield self.module
        elif name == "initial" and self._initial is not None:
            yield self._initial
        else:
            hint = "; set keep_initial = true in [model]" if name == "initial" else ""
            raise ConfigError(f'this model keeps no weights "{name}"; it has "current" and, if kept, "initial"{hint}')

    async def begin(self, folder: Path) -> None:
        """`load`; from now on these are the initial weights."""
        self.read(folder)
        self._fresh_adapter = False
        self._initial = self._frozen() if self._keep_initial else None

    def _frozen(self) -> Any:
        return copy.deepcopy(self.module).requires_grad_(False)

    async def save(self, folder: Path) -> None:
        """Write a Hugging Face folder: weights (or the LoRA adapter alone), tokenizer, chat template."""
        self.write(folder)

    async def load(self, folder: Path) -> None:
        """Take over, in place and bit by bit, weights and version of a folder that `save` wrote.

        Raises DataError for a folder that is incomplete, damaged or of another shape.
        """
        self.read(folder)

    def write(self, folder: Path) -> None:
        """`save`, for callers without an event loop."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / _EXTRA).write_text(json.dumps({"version": self.version.update}) + "\n", encoding="utf-8")
        if self._initial is not None:
            torch.save(self._initial.state_dict(), folder / _INITIAL)

    def read(self, folder: Path) -> None:
        """`load`, for callers without an event loop."""
        folder = Path(folder)
        try:
            fresh = self._adapter(folder) if self.lora else self._stored(folder)
            update = int(json.loads((folder / _EXTRA).read_text(encoding="utf-8"))["version"])
            if self._keep_initial and (folder / _INITIAL).exists():
                self._initial = self._frozen() if self._initial is None else self._initial
                self._fresh_adapter = False
                self._initial.load_state_dict(torch.load(folder / _INITIAL, weights_only=True))
        except Exception as error:  # safetensors raises a bare subclass of Exception for a damaged file
            raise DataError(f"{folder} holds no weights that can be read ({type(error).__name__}: {error})") from error
        own = dict(self.module.state_dict(keep_vars=True))
        wrong = [name for name, value in fresh.items() if name not in own or own[name].shape != value.shape]
        if wrong or not fresh:
            raise DataError(f"{folder} was written by a model of another shape: {', '.join(wrong[:3]) or 'no weights'}")
        with torch.no_grad():
            for name, value in fresh.items():
                own[name].copy_(value)
        self.version = dataclasses.replace(self.version, update=update)

    def _stored(self, folder: Path) -> dict[str, torch.Tensor]:
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

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
from agentrl_plugins.models.adapters import EXTRA, adapter_weights, base_digest, save_adapter, stored_adapter
from agentrl_plugins.models.forward_check import settle
from agentrl_plugins.models.memory import out_of_memory
from agentrl_plugins.models.questions import answer
from agentrl_plugins.models.template_codec import History, TemplateCodec

_SMALL = 50_000_000  # parameters
_LONG_S = 5.0
_INITIAL = "initial.pt"
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per checkpoint would write across the display of a run


class LanguageModel:
    """Weights (`module`), the `codec` that turns dialogues into ids, and the `version` of the weights.

    `module` is the transformers model, or the PeftModel around it when LoRA is on. `forward_check` says how its forward pass is run.
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
        """Raises ConfigError for an architecture that cannot be run, a tokenizer without chat template or fast backend."""
        self.module = module
        self.version = Version()
        module.eval()
        started = time.perf_counter()
        self._form = settle(self.base)
        self._settled_s = time.perf_counter() - started
        self.codec = codec or TemplateCodec(tokenizer, self._stop_ids(tokenizer), self.max_context, history)
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
        """The longest sequence these weights were made for, and are computed rightly for."""
        return int(min(self._made_for, self._form.longest))

    @property
    def _made_for(self) -> int:
        config = self.base.config.get_text_config(decoder=True)
        return int(getattr(config, "max_position_embeddings", 0) or 2048)

    @property
    def notes(self) -> list[str]:
        """What a person should know of how this model is run, a line each."""
        name, form = type(self.base).__name__, self._form
        notes = []
        if form.longest < self._made_for:
            notes.append(f"{name}: sequences have at most {form.longest} tokens: {form.why_longest}")
        if form.packed_up_to < self.max_context:
            which = f"sequences longer than {form.packed_up_to} tokens run" if form.packed_up_to else "sequences run"
            notes.append(
                f"{name}: {which} one at a time with the library's own attention and without a cache, which is right and "
                f"slow, because {form.why_packed}"
            )
        if self._settled_s > _LONG_S:
            notes.append(f"{name}: comparing its forward pass with the library's took {self._settled_s:.0f} s")
        return notes

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
        extra: dict[str, object] = {"version": self.version.update}
        if self.lora:
            save_adapter(self.module, folder)
            extra["base"] = base_digest(self.module)
        else:
            self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / EXTRA).write_text(json.dumps(extra) + "\n", encoding="utf-8")
        if self._initial is not None:
            torch.save(self._initial.state_dict(), folder / _INITIAL)

    def read(self, folder: Path) -> None:
        """`load`, for callers without an event loop."""
        folder = Path(folder)
        try:
            fresh = stored_adapter(folder) if self.lora else self._stored(folder)
            extra = json.loads((folder / EXTRA).read_text(encoding="utf-8"))
            update = int(extra["version"])
            if self._keep_initial and (folder / _INITIAL).exists():
                self._initial = self._frozen() if self._initial is None else self._initial
                self._fresh_adapter = False
                self._initial.load_state_dict(torch.load(folder / _INITIAL, weights_only=True))
        except Exception as error:  # safetensors raises a bare subclass of Exception for a damaged file
            raise DataError(f"{folder} holds no weights that can be read ({type(error).__name__}: {error})") from error
        own = adapter_weights(self.module) if self.lora else dict(self.module.state_dict(keep_vars=True))
        shapes = [{name: value.shape for name, value in weights.items()} for weights in (own, fresh)]
        if wrong := [name for name, _ in shapes[0].items() ^ shapes[1].items()]:
            raise DataError(f"{folder} was written by a model of another shape: {', '.join(sorted(set(wrong))[:3])}")
        if self.lora and extra.get("base") not in (None, base_digest(self.module)):
            raise DataError(
                f"{folder} holds an adapter that was trained on another base; give [model] the path of that"
            )
        with torch.no_grad():
            for name, value in fresh.items():
                own[name].copy_(value)
        self.version = dataclasses.replace(self.version, update=update)

    def _stored(self, folder: Path) -> dict[str, torch.Tensor]:
        # Through from_pretrained, because the library may store weights under other names than the module has.
        dtype = next(self.module.parameters()).dtype
        fresh = type(self.module).from_pretrained(folder, dtype=dtype, local_files_only=True)
        return dict(fresh.state_dict())

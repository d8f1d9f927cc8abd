"""LoRA adapters: a fresh one on a model, one from a folder on the base that it was trained on, and their weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from agentrl import ConfigError
from agentrl_plugins.models.places import HUB_ID

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

EXTRA = "agentrl.json"  # what a Hugging Face folder has no place for
_NUMBERS = 64  # of each weight of a base are looked at


def fresh_adapter(module: PreTrainedModel, rank: int, alpha: int, targets: Sequence[str], seed: int) -> PeftModel:
    """An adapter that changes nothing yet; the seed alone decides its weights. Raises ConfigError for a wrong target."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), task_type="CAUSAL_LM")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return get_peft_model(module, config)
    except ValueError as error:
        raise ConfigError(f"model 'pretrained': lora_targets = {list(targets)}: {error}") from None


def adapter_on_its_base(folder: Path, base_model: Callable[[str], PreTrainedModel]) -> PeftModel:
    """The adapter in a folder; `base_model` loads a base by its folder or hub id.

    Raises ConfigError where the base is not found, or holds other weights than those that the adapter was trained on.
    """
    from peft import PeftConfig, PeftModel

    recorded = str(PeftConfig.from_pretrained(str(folder)).base_model_name_or_path)
    extra = folder / EXTRA
    digest = json.loads(extra.read_text(encoding="utf-8")).get("base") if extra.is_file() else None
    base = _base(folder, recorded, moved=digest is not None)
    module = PeftModel.from_pretrained(base_model(base), str(folder), is_trainable=True)
    module.peft_config["default"].base_model_name_or_path = base
    if digest not in (None, base_digest(module)):
        raise ConfigError(
            f"model 'pretrained': the adapter {folder} was trained on other weights than those of {base}; put its base back "
            f"to {recorded}"
        )
    return module


def adapter_weights(module: PeftModel) -> dict[str, torch.Tensor]:
    """What an adapter's file holds, by the names that it has there; the tensors are the module's own."""
    from peft import get_peft_model_state_dict

    weights: dict[str, torch.Tensor] = get_peft_model_state_dict(module, save_embedding_layers=_on_embeddings(module))
    return weights


def stored_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in the file of an adapter."""
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def save_adapter(module: PeftModel, folder: Path) -> None:
    """Adapter and its config; nothing is looked up on a hub."""
    module.save_pretrained(str(folder), save_embedding_layers=_on_embeddings(module))


def base_digest(module: torch.nn.Module) -> str:
    """Tells bases of an adapter apart by a few numbers of every frozen weight, the same in any precision."""
    digest = hashlib.sha256()
    for weight in module.parameters():
        if not weight.requires_grad:
            numbers = weight.detach().flatten()[:_NUMBERS].bfloat16()
            digest.update(numbers.view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def _on_embeddings(module: PeftModel) -> bool:
    from peft.utils.constants import EMBEDDING_LAYER_NAMES

    targets = getattr(module.peft_config["default"], "target_modules", None) or ()
    return any(name in targets for name in EMBEDDING_LAYER_NAMES)


def _base(adapter: Path, recorded: str, *, moved: bool) -> str:
    """The folder of a base, absolute, or its hub id. With `moved` also one that went along when the adapter was moved."""
    path = Path(recorded).expanduser()
    for folder in (path, *_near(adapter.resolve(), path, moved=moved)):
        if (folder / "config.json").is_file():
            return str(folder.resolve())
    if path.is_absolute() or not HUB_ID.fullmatch(recorded):
        raise ConfigError(
            f"model 'pretrained': the adapter {adapter} was trained on the model in {recorded}, and there is no model there. "
            f"Put it back, or write where it is now as base_model_name_or_path into {adapter / 'adapter_config.json'}."
        )
    return recorded


def _near(adapter: Path, base: Path, *, moved: bool) -> Iterator[Path]:
    """Where a base may be, seen from its adapter: as much of its path as possible below a folder that holds both."""
    parts = base.parts[1:] if base.is_absolute() else base.parts
    shortest = 1 if moved else len(parts)
    for length in range(len(parts), shortest - 1, -1):
        for above in (adapter, *adapter.parents):
            yield above.joinpath(*parts[-length:])

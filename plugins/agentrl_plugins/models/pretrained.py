"""Pretrained: a Hugging Face model folder or hub id, whole or with a LoRA adapter on top."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import agentrl
from agentrl import SavedCodec, Seed
from agentrl_plugins.models.places import is_local, model_folder

_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@agentrl.hookimpl
def register_models(register: agentrl.Register) -> None:
    register("pretrained", pretrained)


def pretrained(
    seed: Seed,
    saved: SavedCodec,
    *,
    path: Annotated[Path | str, "model folder, also one that a run wrote, or a LoRA adapter; else a hub id"],
    dtype: Annotated[Literal["float32", "bfloat16"], "type of the weights"] = "float32",
    device: Annotated[Literal["auto", "cpu", "cuda"], "auto: a GPU where torch sees one"] = "auto",
    lora_rank: Annotated[int, "rank of a fresh LoRA adapter, which alone is trained and saved; 0: all weights"] = 0,
    lora_alpha: Annotated[int, "the adapter counts lora_alpha / lora_rank times", agentrl.OnlyWith("lora_rank")] = 32,
    lora_targets: Annotated[tuple[str, ...], "modules that get an adapter", agentrl.OnlyWith("lora_rank")] = _LINEAR,
    history: Annotated[
        Literal["template", "as_sampled"],
        "old answers in a prompt: as the chat template writes them, or the tokens that were sampled",
    ] = "template",
    keep_initial: Annotated[bool, "keep the first weights beside the current ones, for a Scorer"] = False,
) -> agentrl.Model:
    """A model that exists, whole or with an adapter on top. A folder that exists is never looked up on the network.

    Raises ConfigError for whatever cannot be loaded.
    """
    import torch

    from agentrl_plugins.models.adapters import fresh_adapter
    from agentrl_plugins.models.language_model import LanguageModel
    from agentrl_plugins.models.memory import out_of_memory
    from agentrl_plugins.models.template_codec import FILE, TemplateCodec

    if device == "cuda" and not torch.cuda.is_available():
        raise agentrl.ConfigError(
            "model 'pretrained': device = 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    path = str(path)  # a run file's path is one in full, if it is a folder here
    folder = model_folder(path)
    if lora_rank and _is_adapter(folder):
        raise agentrl.ConfigError(f"{path} already is a LoRA adapter; omit lora_rank, or give the path of its base")
    module, tokenizer = _loaded(path, folder, dtype)
    if lora_rank:
        module = fresh_adapter(module, lora_rank, lora_alpha, lora_targets, seed)
    with out_of_memory(f"moving the model to {device}", 'take dtype = "bfloat16" or a smaller model'):
        module = module.to(device)
    return LanguageModel(
        module,
        tokenizer,
        history=history,
        keep_initial=keep_initial,
        fresh_adapter=lora_rank > 0,
        codec=TemplateCodec.load(saved.folder) if saved.folder is not None and (saved.folder / FILE).exists() else None,
    )


def _is_adapter(folder: Path | None) -> bool:
    return folder is not None and (folder / "adapter_config.json").is_file()


def _loaded(path: str, folder: Path | None, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer. Raises ConfigError for whatever keeps them from being loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from agentrl_plugins.models.adapters import adapter_on_its_base

    def whole(source: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, local_files_only=is_local(source))

    source = path if folder is None else str(folder)
    try:
        module = adapter_on_its_base(folder, whole) if folder is not None and _is_adapter(folder) else whole(source)
        return module, AutoTokenizer.from_pretrained(source, local_files_only=is_local(source))
    except agentrl.ConfigError:
        raise
    except Exception as error:  # the hub library and safetensors raise types of their own; a person needs one sentence
        first = str(error).strip().partition("\n")[0]
        raise agentrl.ConfigError(
            f"model 'pretrained': {path!r} cannot be loaded ({type(error).__name__}: {first}). "
            + ("Is the folder complete?" if folder else "There is no such folder here, and the hub did not give it.")
        ) from None

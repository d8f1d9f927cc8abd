"""Pretrained: a Hugging Face model folder or hub id, whole or with a LoRA adapter on top."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import agentrl
from agentrl import SavedCodec, Seed

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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
    lora_alpha: Annotated[int, "the adapter counts lora_alpha / lora_rank times"] = 32,
    lora_targets: Annotated[tuple[str, ...], "modules that get an adapter"] = _LINEAR,
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
    from transformers import AutoTokenizer

    from agentrl_plugins.models.language_model import LanguageModel
    from agentrl_plugins.models.memory import out_of_memory
    from agentrl_plugins.models.template_codec import FILE, TemplateCodec

    if device == "cuda" and not torch.cuda.is_available():
        raise agentrl.ConfigError(
            "model 'pretrained': device = 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = _check(path := str(path))  # a run file's path is one in full, if it is a folder here
    local = folder or not _on_hub(path)  # without the hub only its cache can help; the library would retry for long
    adapter = folder and (Path(path) / "adapter_config.json").is_file()
    if adapter and lora_rank:
        raise agentrl.ConfigError(f"{path} already is a LoRA adapter; omit lora_rank, or give the path of its base")
    try:
        module = _with_adapter(path, dtype) if adapter else _base(path, dtype, local)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local)
    except Exception as error:  # the hub library and safetensors raise types of their own; a person needs one sentence
        first = str(error).strip().partition("\n")[0]
        raise agentrl.ConfigError(
            f"model 'pretrained': {path!r} cannot be loaded ({type(error).__name__}: {first}). "
            + ("Is the folder complete?" if folder else "There is no such folder here, and the hub did not give it.")
        ) from None
    if lora_rank:
        module = _fresh_adapter(module, lora_rank, lora_alpha, lora_targets, seed)
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


def _check(path: str) -> bool:
    """Whether `path` is a folder here. Raises ConfigError for what can be neither a model folder nor a hub id."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise agentrl.ConfigError(
                f"model 'pretrained': the folder {path!r} has no config.json; give the folder that holds the weights, "
                "for a run its model/ folder."
            )
        return True
    if folder.exists() or path.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(path):
        raise agentrl.ConfigError(
            f"model 'pretrained': there is no folder {path!r}. Give an existing Hugging Face model folder, "
            "or a hub id such as 'Qwen/Qwen3-0.6B'."
        )
    return False


def _on_hub(path: str) -> bool:
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(path, timeout=10)
    except Exception:  # offline, unknown or closed to us: which of them makes no difference here
        return False
    return True


def _base(path: str, dtype: str, local: bool) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=local)


def _with_adapter(path: str, dtype: str) -> Any:
    from peft import PeftConfig, PeftModel

    base = str(PeftConfig.from_pretrained(path).base_model_name_or_path)
    return PeftModel.from_pretrained(_base(base, dtype, _check(base)), path, is_trainable=True)


def _fresh_adapter(module: Any, rank: int, alpha: int, targets: tuple[str, ...], seed: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), task_type="CAUSAL_LM")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return get_peft_model(module, config)
    except ValueError as error:
        raise agentrl.ConfigError(f"model 'pretrained': lora_targets = {list(targets)}: {error}") from None

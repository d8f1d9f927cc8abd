"""Digests of seven tiny runs: whether a change of the code changed any trajectory, advantage or weight.

Each run takes seconds on one core, repeats bit by bit on one machine, and uses nothing but run files, `agentrl.train`
and the files of a run folder. Numbers differ between processors, so a digest is only compared with one made here:
`--against COMMIT` plays every run in this tree and in that commit's, and names the first update, row and column that
differ. Run: python benchmarks/digests.py [--against COMMIT] [--except NAME …] [--only NAME …] [--json FILE]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors import safe_open
from trees import Tree, this_tree, tree_of

PLAY = "import json, sys, agentrl; agentrl.train(json.load(open(sys.argv[1])))"
METRICS = ("train/loss", "train/grad_norm")
KEY = ("task_split", "task_index", "task_seed", "member", "attempt", "turn")
TEXTS = ("observation", "action", "invalid", "anchor", "text", "stop", "outcome", "success")
NUMBERS = ("reward", "advantage")
LISTS = ("prompt", "ids", "versions", "logprobs", "entropy", "token_advantages")

TINY = {"name": "tiny", "layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "vocabulary": 512}
ENGINE = {"name": "transformers", "max_tokens": 8, "workers": 1}
CLONING = {
    "policy": {"name": "expert", "noise": 0.1},
    "loss": {"name": "nll", "observations": 0.5},
    "trainer": {
        "name": "packed", "optimizer": "muon", "learning_rate": 1e-2, "matrix_learning_rate": 0.05,
        "minibatch_tokens": 400, "microbatch_tokens": 400, "workers": 1,
    },
}  # fmt: skip
LEARNING = {
    "credit": {"name": "gigpo", "gamma": 0.95, "invalid_penalty": 0.1},
    "loss": {"name": "ppo", "aggregation": "trajectory", "entropy_weight": 0.01},
    "trainer": {
        "name": "packed", "learning_rate": 3e-3, "minibatches": 2, "microbatch_tokens": 1000, "workers": 1,
        "reference": "initial",
    },
}  # fmt: skip


def stages(*counts: int, tasks: tuple[int, int] = (24, 4)) -> list[dict[str, Any]]:
    """So many updates of cloning from the expert, then so many of GiGPO with PPO."""
    cloning, learning = (
        {**parts, "updates": count, "sampler": {"name": "uniform", "tasks": number}}
        for parts, count, number in zip((CLONING, LEARNING), counts, tasks, strict=True)
    )
    learning["collector"] = {"group_size": 4}
    return [{"name": "clone", **cloning}, {"name": "learn", **learning}]


def runs(models: Path) -> dict[str, dict[str, Any]]:
    """Tables by name; `models` is a folder in which `write_models` has been."""
    corridor = {"name": "corridor", "max_turns": 8}
    small = {"name": "full", "system": False}
    return {
        "corridor": {
            "environment": corridor,
            "model": {"name": "table"},
            "policy": {"name": "tabular"},
            "sampler": {"name": "uniform", "tasks": 8},
            "collector": {"name": "asynchronous", "group_size": 4},
            "credit": {"name": "gigpo", "invalid_penalty": 0.1},
            "trainer": {"name": "tabular", "learning_rate": 0.5},
            "stages": [{"name": "learn", "updates": 6}],
        },
        "household": {
            "environment": {
                "name": "household", "rooms": ["kitchen"], "receptacles": [6, 8], "object_types": [6, 6],
                "copies": [1, 1], "layouts": 50, "max_turns": 10, "task_types": ["pick_and_place_simple"],
            },
            "model": TINY,
            "policy": ENGINE,
            "context": small,
            "stages": stages(3, 3),
        },
        "tools": {
            "environment": {"name": "tools", "preset": "tiny", "max_turns": 6, "anchor": "state"},
            "model": {**TINY, "pieces": "words"},
            "policy": {**ENGINE, "max_tokens": 32},
            "context": small,
            "dialect": {"name": "json_call"},
            "stages": stages(3, 2),
        },
        "window": {
            "environment": corridor,
            "model": TINY,
            "policy": ENGINE,
            "context": {"name": "window", "last": 1},
            "stages": stages(2, 2),
        },
        "lora": {
            "environment": corridor,
            "model": {"name": "pretrained", "path": str(models / "plain"), "lora_rank": 8, "lora_alpha": 64},
            "policy": ENGINE,
            "context": small,
            "stages": stages(6, 2, tasks=(48, 4)),
        },
        "code": {
            "environment": {"name": "code", "preset": "tiny", "max_turns": 3, "sandbox": {"name": "bubblewrap"}},
            "model": {**TINY, "pieces": "words"},
            "policy": {**ENGINE, "max_tokens": 16},
            "context": small,
            # Its steps run in threads: two trajectories at once would meet in batches that differ from run to run.
            "collector": {"name": "asynchronous", "concurrency": 1},
            "stages": stages(5, 2, tasks=(24, 3)),
        },
        "templated": {
            "environment": corridor,
            "model": {"name": "pretrained", "path": str(models / "forgetful")},
            "policy": {**ENGINE, "max_tokens": 16},
            "dialect": {"name": "tags"},
            "context": small,
            "stages": stages(5, 2, tasks=(48, 4)),
        },
    }  # fmt: skip


TEMPLATES = {
    "plain": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "forgetful": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'].split('</think>')[-1] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
}


def write_models(folder: Path) -> None:
    """Hugging Face folders with fresh weights: one with an append-only template, one that drops earlier thoughts."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    special = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(
        ["You stand in cell 3 of 7. Walk to the exit on the left, right, wait, open door. <think></think><action>"] * 9,
        trainer,
    )
    config = Qwen3Config(
        vocab_size=backend.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=1024,
        tie_word_embeddings=True, initializer_range=0.4, eos_token_id=5, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    module = Qwen3ForCausalLM(config)
    module.generation_config = GenerationConfig(eos_token_id=5, pad_token_id=0)
    for name, template in TEMPLATES.items():
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>", chat_template=template
        )
        module.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


class Failed(Exception):
    """A run that could not be played, or a run folder that could not be read."""


@dataclass(frozen=True)
class Played:
    """What a run left behind: rows by update and key, exact metrics, and the weights it ended with."""

    rows: Mapping[int, Mapping[tuple[Any, ...], Mapping[str, Any]]]
    metrics: Mapping[int, Mapping[str, float]]
    weights: Mapping[str, bytes]

    def digest(self) -> str:
        """Sha256 over all of it, in a fixed order."""
        parts = [
            [(update, [(key, *row.items()) for key, row in rows.items()]) for update, rows in self.rows.items()],
            [(update, *metrics.items()) for update, metrics in self.metrics.items()],
            list(self.weights.items()),
        ]
        return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def read(folder: Path) -> Played:
    """A run folder, whatever wrote it."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Played(
        {int(path.parent.name): _rows(path) for path in sorted(folder.glob("updates/*/trajectories.parquet"))},
        {line["update"]: {name: line[name] for name in METRICS if name in line} for line in lines},
        _weights(folder / "model"),
    )


def _rows(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows sorted by key; prompts whole, however they are stored; an absent column is an empty dictionary's `get`."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    before: dict[Any, list[int]] = {}
    for record in pq.read_table(path).to_pylist():
        if record["turn"] >= 0:
            speaker = record["trajectory"], record.get("agent")
            record["prompt"] = before.get(speaker, [])[: record["prompt_start"]] + record["prompt_ids"]
            before[speaker] = record["prompt"] + record["ids"]
        record["anchor"] = record["observation"] if record["anchor"] is None else record["anchor"]
        key = tuple(record[name] for name in KEY)
        if key in rows:
            raise Failed(f"{path} has two rows with the key {key}; the runs must draw each task once an update")
        rows[key] = {name: record.get(name) for name in (*TEXTS, *NUMBERS, *LISTS)}
    return {key: rows[key] for key in sorted(rows)}


def _weights(folder: Path) -> dict[str, bytes]:
    """Bytes of each tensor, or of each entry of a table, by sorted name."""
    weights: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  this is no dictionary
                tensor = file.get_tensor(name)
                weights[f"{name} {tensor.dtype} {list(tensor.shape)}"] = tensor.tobytes()
    if (folder / "table.json").exists():
        for state, action, logit in json.loads((folder / "table.json").read_text())["entries"]:
            weights[f"{state!r} {action!r}"] = np.float64(logit).tobytes()
    if not weights:
        raise Failed(f"{folder} holds no weights that this script can read")
    return dict(sorted(weights.items()))


def first_difference(one: Played, other: Played) -> str:
    """Where two runs differ first, in words: an update's rows, then its metrics, at last the weights; or ""."""
    for update in sorted(one.rows.keys() | other.rows.keys()):
        left, right = one.rows.get(update, {}), other.rows.get(update, {})
        for key in sorted(left.keys() | right.keys()):
            where = f"update {update}, " + ", ".join(f"{n} {v}" for n, v in zip(KEY, key, strict=True))
            if (key in left) != (key in right):
                return f"{where}: only {'here' if key in left else 'there'}"
            for column, value in left[key].items():
                if repr(value) != repr(right[key][column]):
                    return f"{where}, column {column}: {_around(value, right[key][column])}"
        for name in METRICS:
            pair = [metrics.get(update, {}).get(name) for metrics in (one.metrics, other.metrics)]
            if repr(pair[0]) != repr(pair[1]):
                return f"update {update}, metric {name}: {pair[0]!r} and {pair[1]!r}"
    for name in sorted(one.weights.keys() | other.weights.keys()):
        if one.weights.get(name) != other.weights.get(name):
            return f"final weights, {name}" + ("" if name in one.weights and name in other.weights else ": only in one")
    return ""


def _around(one: Any, other: Any) -> str:
    """Two values, cut to what surrounds their first difference."""
    start = 0
    if isinstance(one, str | list) and isinstance(other, str | list):
        pairs = enumerate(zip(one, other, strict=False))
        at = next((at for at, (a, b) in pairs if repr(a) != repr(b)), min(len(one), len(other)))
        start = max(0, at - 10)
        one, other = one[start : at + 30], other[start : at + 30]
    return (f"from position {start}, " if start else "") + f"{one!r} and {other!r}"


def play(tree: Tree, name: str, tables: Mapping[str, Any], folder: Path) -> Played:
    """Play one run in a process of the tree, in a folder that it makes. Raises Failed."""
    folder.mkdir(parents=True)
    source = folder / "tables.json"
    source.write_text(json.dumps({"name": name, "seed": 7, "runs": str(folder / "runs"), **tables}))
    done = tree.run(["-P", "-c", PLAY, str(source)], folder=folder)
    if done.returncode:
        raise Failed(f"in {tree.name}: {(done.stderr or done.stdout).strip()}")
    return read(folder / "runs" / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="play in a checkout of this commit too, and compare")
    parser.add_argument("--except", metavar="NAME", nargs="+", default=[], dest="excepted", help="runs that may differ")
    parser.add_argument("--only", metavar="NAME", nargs="+", default=[], help="play these runs only")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the digests of this tree there")
    given = parser.parse_args()
    digests: dict[str, str] = {}
    wrong = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentrl-digests-")))
        tables = runs(folder / "models")
        unknown = {*given.excepted, *given.only} - tables.keys()
        if unknown:
            parser.error(f"there is no run {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
        trees = [stack.enter_context(this_tree())]
        trees += [stack.enter_context(tree_of(given.against))] if given.against else []
        write_models(folder / "models")
        for name in given.only or tables:
            digests[name], difference = compare(trees, name, tables[name], folder / name)
            verdict = "" if len(trees) == 1 and not difference else "DIFFERENT  " if difference else "same       "
            print(f"{name:<10} {verdict}{difference or digests[name]}", flush=True)
            wrong += [name] if difference and name not in given.excepted else []
    if given.json:
        given.json.write_text(json.dumps(digests, indent=2) + "\n")
    return int(bool(wrong))


def compare(trees: Sequence[Tree], name: str, tables: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """The digest of a run in the first tree, and where the others differ first; each tree takes a core."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        started = [pool.submit(play, tree, name, tables, folder / str(i)) for i, tree in enumerate(trees)]
    try:
        played = [future.result() for future in started]
    except Failed as error:
        return "", f"it failed {error}"
    return played[0].digest(), next(filter(None, (first_difference(played[0], other) for other in played[1:])), "")


if __name__ == "__main__":
    sys.exit(main())

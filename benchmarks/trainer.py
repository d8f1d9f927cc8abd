"""The packed trainer against plain PyTorch (right-padded Hugging Face forward and backward, AdamW), in one run.

A tiny model (4 layers × 128, 1,024 tokens) trains on 40 rows of 100 to 700 tokens, a fifth of them sampled: cloning in
steps of 1,500 tokens with loss on all, policy gradients in steps of 8,000 with loss on sampled ones. Both sides take the
same rows, turn about, and count real tokens only. Plain PyTorch sorts by length, runs 1,500 tokens at a time (its best)
with all threads and with one, and the better counts. Of six rounds the best counts, because others on the machine only
ever slow it down. `wall` is what a person waits for; `core` counts processor time. Run: python benchmarks/trainer.py
"""

import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from agentrl import COLUMNS, Completion, Loss, Outcome, SavedCodec, Task, Trajectory, Turn, relation, training_rows
from agentrl_plugins.losses.nll import NLL
from agentrl_plugins.losses.ppo import PPO
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.trainers.packed_trainer import PackedTrainer

ROWS, ROUNDS, PLAIN_TOKENS = 40, 6, 1500
GOAL_RATIO = 25_000 / 17_000


def trajectories(vocabulary: int) -> list[Trajectory]:
    """Growing contexts: each turn adds some 20 observed and 5 sampled tokens."""
    random = np.random.default_rng(0)
    found = []
    for number in range(ROWS):
        said = np.zeros(0, np.int32)
        turns = []
        for _ in range(int(random.integers(4, 28))):
            prompt = np.concatenate([said, random.integers(0, vocabulary, int(random.integers(10, 31)))]).astype(
                np.int32
            )
            ids = random.integers(0, vocabulary, 5).astype(np.int32)
            logprobs = np.full(5, -np.log(vocabulary), np.float32)
            completion = Completion("", prompt, ids, logprobs, versions=np.zeros(5, np.int32))
            how, kept = relation(turns[-1].completion if turns else None, prompt)
            turns.append(Turn("", completion, "", 0.0, "", relation=how, kept=kept))
            said = np.concatenate([prompt, ids])
        found.append(Trajectory(tuple(turns), Task("train", 0), f"g{number // 8}", Outcome.TERMINATED, number % 8))
    return found


def plain(model, played: list[Trajectory], step_tokens: int, optimiser) -> int:
    """Padded batches of rows sorted by length, a step for every `step_tokens`; real tokens trained."""
    rows = sorted((row.ids for row in training_rows(played, [np.ones(len(t.turns)) for t in played])), key=len)
    tokens = since_step = 0
    while rows:
        batch = [rows.pop()]
        while rows and sum(map(len, batch)) < PLAIN_TOKENS:
            batch.append(rows.pop())
        ids = torch.from_numpy(np.stack([np.pad(row, (0, len(batch[0]) - len(row))) for row in batch])).long()
        real = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in batch])
        logits = model.module(ids, attention_mask=real.long(), use_cache=False).logits[:, :-1]
        targets = ids.masked_fill(~real, -100)[:, 1:]
        cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
        tokens += sum(map(len, batch))
        since_step += sum(map(len, batch))
        if since_step >= step_tokens or not rows:
            optimiser.step()
            optimiser.zero_grad()
            since_step = 0
    return tokens


def measure(work) -> tuple[float, float, int]:
    """Seconds on the wall, seconds of processor time, tokens."""
    wall, core = time.perf_counter(), time.process_time()
    tokens = work()
    return time.perf_counter() - wall, time.process_time() - core, tokens


Runs = list[tuple[float, float, int]]


def report(name: str, ours: Runs, theirs: dict[int, Runs], padding: float) -> None:
    def speed(runs: Runs, place: int) -> float:
        return max(run[2] / run[place] for run in runs)

    wall, core = (max(speed(runs, place) for runs in theirs.values()) for place in (0, 1))
    print(
        f"{name:34s} wall {speed(ours, 0):7,.0f} tokens/s = {speed(ours, 0) / wall:4.2f} × plain ({wall:,.0f}), "
        f"core {speed(ours, 1):6,.0f} = {speed(ours, 1) / core:4.2f} × ({core:,.0f}), padding {padding:.1%}",
        flush=True,
    )


def compare(name: str, texts: list[str], loss: Loss, step_tokens: int, **settings: str) -> None:
    """Both sides by turns, with the first round left out."""
    model, other = tiny(texts, 0, SavedCodec()), tiny(texts, 0, SavedCodec())
    played = trajectories(len(model.tokenizer))
    advantages = [np.random.default_rng(i).normal(size=len(t.turns)) for i, t in enumerate(played)]
    trainer = PackedTrainer(model, loss, 0, 1, COLUMNS, learning_rate=1e-4, minibatch_tokens=step_tokens, **settings)
    other.module.set_attn_implementation("sdpa")
    optimiser = torch.optim.AdamW(other.module.parameters(), 1e-4)
    threads, padding = torch.get_num_threads(), 0.0
    ours: Runs = []
    theirs: dict[int, Runs] = {threads: [], 1: []}

    def update() -> int:
        nonlocal padding
        metrics = trainer.train(played, advantages)
        padding = metrics["padding_share"]
        return int(metrics["tokens"])

    for _ in range(ROUNDS + 1):
        for count, runs in theirs.items():
            torch.set_num_threads(count)
            runs.append(measure(lambda: plain(other, played, step_tokens, optimiser)))
        torch.set_num_threads(threads)
        ours.append(measure(update))
    report(name, ours[1:], {count: runs[1:] for count, runs in theirs.items()}, padding)
    trainer.close()


def main() -> None:
    words = np.random.default_rng(1).integers(97, 123, (4000, 6)).astype(np.uint8)
    texts = [" ".join(bytes(word).decode() for word in words)] * 2
    print(f"{torch.get_num_threads()} threads; goal {GOAL_RATIO:.2f} × plain")
    short = {"gradient_products": "bfloat16"}
    compare("cloning, AdamW", texts, NLL(observations=1.0), 1500)
    compare("cloning, AdamW, bfloat16 products", texts, NLL(observations=1.0), 1500, **short)
    compare("cloning, Muon", texts, NLL(observations=1.0), 1500, optimizer="muon")
    compare("policy gradient", texts, PPO(), 8000)
    compare("policy gradient, bfloat16 products", texts, PPO(), 8000, **short)


if __name__ == "__main__":
    main()

"""The in-process engine against one left-padded `model.generate` over all live trajectories per turn, same run.

A tiny model (4 layers × 128) first learns the format of 60 short games for some seconds, so that answers have the
lengths of real actions. Then 96 games of 20 turns are played with the engine, and the very same prompts are answered by
`generate`: per turn one left-padded batch of all games, run until its longest answer is done. Both are counted by the
tokens that were really sampled. Run: python benchmarks/engine.py
"""

import asyncio
import random
import time

import numpy as np
import torch

from agentrl import Completion, Dialogue, Message, SavedCodec
from agentrl_plugins.models.ragged import ragged_logits
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.policies.transformers_policy import TransformersPolicy

GAMES, TURNS, MAX_TOKENS = 96, 20, 16
GOAL_RATIO, GOAL_DECODED = 5.0, 8000.0
PLACES = [
    f"{place} {i}" for place in ("cabinet", "drawer", "shelf", "countertop", "fridge", "sinkbasin") for i in range(1, 5)
]
THINGS = [
    f"{thing} {i}" for thing in ("mug", "apple", "knife", "plate", "bread", "egg", "cup", "spoon") for i in range(1, 4)
]


def game(seed: int, turns: int = TURNS) -> list[tuple[str, str]]:
    """(observation, action) of each turn, in the manner of ALFWorld; what is seen does not depend on what is done."""
    draw = random.Random(seed)
    room = ", ".join(f"a {place}" for place in draw.sample(PLACES, 8))
    start = f"You are in the middle of a room. Looking quickly around you, you see {room}.\nYour task is to: put a {draw.choice(THINGS)[:-2]} in {draw.choice(PLACES)[:-2]}."
    return [(start if turn == 0 else _seen(draw), _done(draw)) for turn in range(turns)]


def _seen(draw: random.Random) -> str:
    place = draw.choice(PLACES)
    things = ", ".join(f"a {thing}" for thing in draw.sample(THINGS, draw.randrange(1, 4)))
    return draw.choice(
        [
            f"You arrive at {place}. On the {place}, you see {things}.",
            f"You open the {place}. The {place} is open. In it, you see {things}.",
            f"You pick up the {draw.choice(THINGS)} from the {place}.",
            "Nothing happens.",
        ]
    )


def _done(draw: random.Random) -> str:
    place, thing = draw.choice(PLACES), draw.choice(THINGS)
    return draw.choice([f"go to {place}", f"open {place}", f"take {thing} from {place}", f"clean {thing} with {place}"])


def trained_model():
    """A model that has seen enough demonstrations to answer with something like an action."""
    games = [game(1000 + index) for index in range(60)]
    model = tiny([text for turns in games for turn in turns for text in turn], 0, SavedCodec())
    codec = model.codec
    sequences = []
    for turns in games:
        messages: tuple[Message, ...] = ()
        for observation, action in turns:
            messages += (Message("user", observation),)
            ids = codec.say(action)
            none = np.zeros(len(ids), np.float32)
            said = Completion(action, codec.prompt(messages).ids, ids, none, None, none.astype(np.int32))
            messages += (Message("assistant", action, said),)
        sequences.append(np.concatenate([said.prompt_ids, said.ids]))
    optimiser = torch.optim.AdamW(model.module.parameters(), lr=4e-3)
    model.module.train()
    for step in range(40):
        batch = [sequences[i] for i in np.random.default_rng(step).choice(len(sequences), 6, replace=False)]
        logits = ragged_logits(model.module, batch, [np.arange(len(ids)) < len(ids) - 1 for ids in batch])
        targets = torch.from_numpy(np.concatenate([ids[1:] for ids in batch])).long()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    model.module.eval()
    return model


async def _play(policy: TransformersPolicy, index: int) -> list[Completion]:
    messages: tuple[Message, ...] = ()
    completions: list[Completion] = []
    for turn, (observation, _) in enumerate(game(index)):
        messages += (Message("user", observation),)
        prompt = policy.codec.prompt(messages, after=completions[-1] if completions else None)
        said = await policy.act(Dialogue(messages, f"game {index}", 1000 * index + turn, prompt))
        messages += (Message("assistant", said.text, said),)
        completions.append(said)
    policy.forget(f"game {index}")
    return completions


def by_engine(policy: TransformersPolicy) -> tuple[list[list[Completion]], float]:
    """Completions of all games, and seconds."""

    async def everyone():
        return await asyncio.gather(*(_play(policy, index) for index in range(GAMES)))

    started = time.perf_counter()
    played = asyncio.run(everyone())
    return played, time.perf_counter() - started


def by_generate(model, played: list[list[Completion]]) -> float:
    """Seconds for the same prompts and as many tokens: one left-padded batch per turn."""
    started = time.perf_counter()
    for turn in range(TURNS):
        prompts = [completions[turn].prompt_ids for completions in played]
        longest = max(map(len, prompts))
        ids = torch.from_numpy(np.stack([np.pad(prompt, (longest - len(prompt), 0)) for prompt in prompts])).long()
        mask = torch.from_numpy(np.arange(longest) >= longest - np.array([[len(prompt)] for prompt in prompts])).long()
        count = max(len(completions[turn].ids) for completions in played)
        settings = {"do_sample": True, "top_k": 0, "max_new_tokens": count, "min_new_tokens": count, "pad_token_id": 0}
        model.module.generate(ids, attention_mask=mask, **settings)
    return time.perf_counter() - started


def decoding(model) -> float:
    """Tokens per second with 96 rows that do nothing but decode."""
    policy = TransformersPolicy(model, max_tokens=128)
    model.module.lm_head.weight.data[model.tokenizer.eos_token_id] = 0
    messages = (Message("user", game(0)[0][0]),)

    async def everyone(key):
        dialogues = [Dialogue(messages, f"{key} {index}", index) for index in range(GAMES)]
        return await asyncio.gather(*(policy.act(dialogue) for dialogue in dialogues))

    asyncio.run(everyone("warm"))
    policy.metrics()
    asyncio.run(everyone("again"))
    counts = policy.metrics()
    return counts["tokens_sampled"] / counts["seconds"]


def main() -> None:
    model = trained_model()
    by_engine(TransformersPolicy(model, max_tokens=MAX_TOKENS))
    policy = TransformersPolicy(model, max_tokens=MAX_TOKENS)
    played, seconds = by_engine(policy)
    counts = policy.metrics()
    theirs = by_generate(model, played)
    tokens = counts["tokens_sampled"]
    threads = torch.get_num_threads()
    print(f"engine, {GAMES} games of {TURNS} turns, {tokens / GAMES / TURNS:.1f} tokens a turn, {threads} threads")
    print(
        f"  ours      {tokens / seconds:9.0f} tokens/s sampled, {counts['tokens_computed'] / seconds:.0f}/s computed, {seconds:.2f} s"
    )
    print(f"  generate  {tokens / theirs:9.0f} tokens/s sampled, {theirs:.2f} s")
    print(f"  ratio     {theirs / seconds:9.1f}   goal {GOAL_RATIO:.0f}")
    decoded = decoding(model)
    print(
        f"  decoding only, {GAMES} rows: {decoded:.0f} tokens/s, goal {GOAL_DECODED:.0f}, ratio {decoded / GOAL_DECODED:.2f}"
    )


if __name__ == "__main__":
    main()

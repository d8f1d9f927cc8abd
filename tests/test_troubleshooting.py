"""Every message that the page on troubleshooting quotes is provoked, and reads as quoted."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from plugin_install import environ

import agentrl
from agentrl import SavedCodec, Seed
from agentrl.data.record import Run
from agentrl_plugins.models.memory import out_of_memory
from agentrl_plugins.models.template_codec import TemplateCodec
from agentrl_plugins.models.tiny import tiny
from agentrl_plugins.policies.transformers_policy import TransformersPolicy
from agentrl_plugins.trainers.packed_trainer import advice
from agentrl_sandboxes.bubblewrap import preflight

PAGE = Path(__file__).parents[1] / "docs/troubleshooting.md"
QUOTES = dict(re.findall(r"^```text message=(\w+)\n(.*?)\n```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
TABLES = {
    "name": "corridor",
    "environment": "corridor",
    "model": "table",
    "policy": "tabular",
    "credit": "grpo",
    "trainer": "tabular",
    "stages": [{"updates": 1, "sampler": {"name": "uniform", "tasks": 2}}],
}
PLUGINS = {
    "tower_world": "import a_library_that_is_missing\n",
    "mine": "import agentrl\n@agentrl.factory\ndef mine(*, rate: float = 0.1): ...\n",
    "trains": "class Mine:\n    def __init__(self, model, *, rate: float = 0.1): ...\n"
    'def register_trainers(register):\n    register("mine", Mine)\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def command(folder: Path, *words: str, plugins: str = "", **variables: str) -> str:
    """What a command of agentrl prints, with the given entry points of strangers installed."""
    site = folder / "site"
    info = site / "strange-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    for name, source in PLUGINS.items():
        (site / f"{name}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[agentrl]\n{plugins}\n")
    done = subprocess.run(
        [sys.executable, "-m", "agentrl.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**environ(site), **variables},
        timeout=300,
    )
    return done.stdout + done.stderr


def refused(act: Callable[[], object]) -> str:
    """The error of ours, as the command line prints it."""
    with pytest.raises(agentrl.AgentRLError) as caught:
        act()
    return f"agentrl: {caught.value}"


def a_run(folder: Path) -> Path:
    return agentrl.train(TABLES, [f"runs={folder / 'runs'}"]).folder


def bwrap(folder: Path) -> str:
    return command(folder, "sandbox", "run", "--", "true", PATH="/nowhere")


def apparmor(folder: Path) -> str:
    (folder / "kernel").mkdir()
    (folder / "kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    return preflight.explain(str(folder))


def template(folder: Path) -> str:
    bare = SimpleNamespace(chat_template=None, name_or_path="some/base-model")
    return refused(lambda: TemplateCodec(bare, frozenset(), 100))


def overflow(folder: Path) -> str:
    model = tiny(_words(), Seed(1), SavedCodec(None), layers=1, width=32, heads=1, kv_heads=1, head_width=16)
    policy = TransformersPolicy(model, max_context=8)
    dialogue = agentrl.Dialogue((agentrl.Message("user", "a b c d e f g h i j k l"),), "k", 1)
    return refused(lambda: asyncio.run(policy.act(dialogue)))


def crowded(folder: Path) -> str:
    model = {"name": "tiny", "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "head_width": 8, "vocabulary": 300}
    policy = {"name": "transformers", "max_tokens": 4, "max_context": 130}
    changes = {
        "name": "crowded",
        "runs": str(folder),
        "model": model,
        "policy": policy,
        "loss": "ppo",
        "trainer": "packed",
    }
    return (agentrl.train({**TABLES, **changes}).folder / "run.log").read_text(encoding="utf-8")


def memory(folder: Path) -> str:
    def train() -> None:
        with out_of_memory("training", advice(256)):
            torch.empty(1 << 50)

    return refused(train)


def _words() -> agentrl.Texts:
    return agentrl.Texts(["a b c d", "e f g h"])


def old(folder: Path) -> str:
    run = shutil.copytree(Path(__file__).parent / "data/run_of_version_1", folder / "old")
    return refused(lambda: agentrl.resume(run))


def overrides(folder: Path) -> str:
    return command(folder, "train", "--resume", "runs/corridor", "seed=2")


def changed(folder: Path) -> str:
    run = a_run(folder)
    (run / "run.toml").write_text("seed = 2\n" + (run / "run.toml").read_text("utf-8"), "utf-8")
    return refused(lambda: agentrl.resume(run))


def locked(folder: Path) -> str:
    run = a_run(folder)
    with Run.open(run).locked():
        return command(folder, "train", "--resume", str(run))


def damaged(folder: Path) -> str:
    run = a_run(folder)
    with (run / "updates/000000/checkpoint/model/table.json").open("a", encoding="utf-8") as file:
        file.write(" ")
    return refused(lambda: agentrl.resume(run))


def broken(folder: Path) -> str:
    return command(folder, "list", plugins="environment.tower = tower_world")


def factory(folder: Path) -> str:
    return command(folder, "list", plugins="model.mine = mine")


def unannotated(folder: Path) -> str:
    file = folder / "run.toml"
    file.write_text(
        'name = "x"\nenvironment = "corridor"\nmodel = "table"\npolicy = "tabular"\ntrainer = "mine"\n'
        "[[stages]]\nupdates = 1\n"
    )
    return command(folder, "train", "run.toml", "--dry-run", plugins="trainer.mine = trains")


def gpu(folder: Path) -> str:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    return refused(
        lambda: agentrl.default_host().build(
            agentrl.Spec("model", "pretrained", {"path": str(folder), "device": "cuda"}),
            agentrl.Scope({Seed: Seed(1), SavedCodec: SavedCodec(None)}),
        )
    )


def namesake(folder: Path) -> str:
    info = folder / "site/agentrl-1.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: agentrl\nVersion: 1.1\n")
    (info / "RECORD").write_text("agentrl/__init__.py,,\n")
    return command(folder, "list")


PROVOKED = [
    bwrap, apparmor, template, overflow, crowded, memory, old, overrides, changed, locked, damaged, broken, factory, unannotated, gpu,
    namesake,
]  # fmt: skip


@pytest.mark.parametrize("provoke", PROVOKED, ids=lambda provoke: provoke.__name__)
def test_a_message_reads_as_the_page_quotes_it(provoke: Callable[[Path], str], folder: Path) -> None:
    quoted = ".*".join(map(re.escape, QUOTES[provoke.__name__].split("…")))
    message = provoke(folder)
    assert re.search(quoted, message, re.DOTALL), message


def test_every_quote_is_provoked() -> None:
    assert [provoke.__name__ for provoke in PROVOKED] == list(QUOTES)

"""How a run is put together: parts by type, closed in reverse order, refused before anything is written, warm starts, resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agentrl
from agentrl import ConfigError, PluginError, RecordError, Scope, Spec
from agentrl.data.record import Run
from agentrl_plugins.collectors.asynchronous import Asynchronous
from agentrl_plugins.policies.tabular import Tabular
from agentrl_plugins.samplers.uniform import Uniform
from agentrl_plugins.trainers.tabular import Tabular as Trainer


def tables(runs: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "wired", "seed": 1, "runs": str(runs), "environment": "corridor", "model": "table", "policy": "tabular",
        "trainer": {"name": "tabular", "learning_rate": 0.5}, "credit": "grpo",
        "sampler": {"name": "uniform", "tasks": 3}, "collector": {"name": "asynchronous", "group_size": 4},
        "stages": [{"name": "rl", "updates": 3}], **changes,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- parts by type


def host_with(**parts: Any) -> agentrl.Host:
    class Plugin:
        pass

    plugin = Plugin()
    for hook, (name, part) in parts.items():
        setattr(plugin, hook, lambda register, name=name, part=part: register(name, part))
    return agentrl.Host({"mine": plugin})


def test_a_parameter_without_default_gets_the_part_of_its_type() -> None:
    class Judge:
        def __init__(self, model: agentrl.Model, seed: agentrl.Seed, *, strict: bool = True) -> None:
            self.model, self.seed, self.strict = model, seed, strict

        async def annotate(self, trajectories: Any) -> None: ...

    host = host_with(register_judges=("mine", Judge))
    model = host.build(Spec("model", "table"))
    scope = Scope({agentrl.Model: model, agentrl.Seed: agentrl.Seed(7)})
    made = host.build(Spec("judge", "mine", {"strict": False}), scope)
    assert (made.model, made.seed, made.strict) == (model, 7, False)


def test_a_part_with_a_default_is_only_what_the_run_file_names() -> None:
    class Judge:
        def __init__(self, *, policy: agentrl.Policy | None = None) -> None:
            self.policy = policy

        async def annotate(self, trajectories: Any) -> None: ...

    host = host_with(register_judges=("mine", Judge))
    scope = Scope({agentrl.Policy: object()}, named=lambda path: f"the part {path}")
    assert host.build(Spec("judge", "mine"), scope).policy is None
    assert host.build(Spec("judge", "mine", {"policy": "policies.grader"}), scope).policy == "the part policies.grader"


def test_a_signature_of_the_first_form_is_refused_with_the_line_to_write() -> None:
    class Judge:
        def __init__(self, model: Any) -> None: ...
        async def annotate(self, trajectories: Any) -> None: ...

    with pytest.raises(PluginError, match=r"parameter 'model'.*`model: agentrl.Model`.*CHANGELOG"):
        host_with(register_judges=("mine", Judge)).build(Spec("judge", "mine"))


def test_a_part_that_lacks_what_its_kind_promises_is_named_with_its_plugin() -> None:
    class Half:
        def log(self, update: int, metrics: Any) -> None: ...

    with pytest.raises(PluginError, match="judge 'half' of plugin 'mine'.*lacks annotate of Judge"):
        host_with(register_judges=("half", Half)).build(Spec("judge", "half"))


# --------------------------------------------------------------------------------------- wrong values name the plugin


def no_list(trajectories: Any) -> Any:
    return 0.5


def too_short(trajectories: Any) -> Any:
    return [np.zeros(1)] * len(trajectories)


class TextPolicy(Tabular):
    async def act(self, dialogue: agentrl.Dialogue) -> Any:
        return (await super().act(dialogue)).text


class NoTasks(Uniform):
    def next(self, update: int) -> list[agentrl.Task]:
        return []


class NoGroups(Asynchronous):
    async def collect(self, draw: agentrl.Draw, speakers: agentrl.Speakers) -> Any:
        return [draw.number]


class NoMetrics(Trainer):
    async def update(self, batch: agentrl.Batch, advantages: agentrl.Advantages) -> Any:
        return "done"


class Undeclared:
    async def annotate(self, trajectories: Any) -> None:
        trajectories[0].turns[0].columns["shine"] = 1.0


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("credit", no_list, "credit 'given/credit' of plugin 'given' gave 0.5 for 12 trajectories; it gives a list"),
        ("credit", too_short, "gave 1 advantages for the .* turns of trajectory"),
        ("policy", TextPolicy, "TextPolicy.act gave '(left|right|.*)'; a policy gives an agentrl.Completion"),
        ("sampler", NoTasks, "gave .* for update 0; it gives a list of at least one agentrl.Task"),
        ("collector", NoGroups, r"the collector gave \[0\] for draw 0; it gives a list of agentrl.Group"),
        ("trainer", NoMetrics, "trainer 'given/trainer' of plugin 'given' gave 'done'; an update gives metrics"),
        ("judge", Undeclared, "judge 'given/judge' of plugin 'given' wrote the column 'shine', which nobody declared"),
    ],
)
def test_a_wrong_value_names_the_plugin_and_what_was_expected(
    kind: str, part: Any, message: str, tmp_path: Path
) -> None:
    config = tables(tmp_path)
    for key in (kind,):
        config.pop(key, None)
    if kind == "trainer":
        config["trainer"] = {}
    with pytest.raises(agentrl.AgentRLError, match=message):
        agentrl.train(config, parts={kind: part})


# ------------------------------------------------------------------------------------------ before and after a run


def test_parts_are_closed_in_reverse_order_whatever_happens(tmp_path: Path) -> None:
    closed: list[str] = []

    def closing(name: str, base: Any) -> Any:
        class Closing(base):  # type: ignore[misc]
            def close(self) -> None:
                closed.append(name)

        return Closing

    def breaking(trajectories: Any) -> Any:
        raise RuntimeError("no credit today")

    parts = {
        "policy": closing("policy", Tabular),
        "sampler": closing("sampler", Uniform),
        "trainer": closing("trainer", Trainer),
    }
    config = tables(tmp_path) | {"trainer": {}, "policy": {}, "sampler": {"tasks": 3}}
    agentrl.train(config, parts=parts)
    assert closed == ["trainer", "sampler", "policy"]
    closed.clear()
    with pytest.raises(RuntimeError, match="no credit"):
        agentrl.train(config | {"credit": {}}, parts={**parts, "credit": breaking})
    assert closed == ["trainer", "sampler", "policy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "tiny"}}, "needs the model 'table'"),
        ({"environment": {"name": "corridor", "length": -3}}, "length"),
        ({"sampler": {"name": "uniform", "tasks": 10**6}}, "tasks = 1000000"),
        ({"evaluation": {"split": "validd"}}, "names the split 'validd'; the world has"),
        ({"stages": []}, "no .*stages"),
        ({"stages": [{"name": "rl", "updates": 1, "trains": ["other"]}]}, "trains 'other'"),
        (
            {"stages": [{"name": "rl", "updates": 1, "staleness": 2}]},
            "staleness = 2 needs an engine with weights of its own",
        ),
    ],
)
def test_a_run_that_cannot_start_leaves_no_folder(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        agentrl.train(tables(tmp_path / "runs", **changes))
    assert not (tmp_path / "runs").exists()


def test_evaluation_needs_neither_stages_nor_a_trainer() -> None:
    config = {
        "name": "look",
        "environment": "corridor",
        "policy": "expert",
        "evaluation": {"split": "valid", "tasks": 5},
    }
    assert agentrl.evaluate(config).success.value == 1.0


def test_a_run_begins_with_the_weights_of_another(tmp_path: Path) -> None:
    first = agentrl.train(tables(tmp_path))
    second = agentrl.train(
        tables(tmp_path, name="warm", start_from=str(first.folder), stages=[{"name": "rl", "updates": 1}],
               trainer={"name": "tabular", "learning_rate": 1e-9, "optimizer": "gradient"})
    )  # fmt: skip
    one, two = (json.loads((run.folder / "model/table.json").read_text())["entries"] for run in (first, second))
    logits = {(state, action): logit for state, action, logit in two}
    assert all(abs(logits[state, action] - logit) < 1e-6 for state, action, logit in one)
    assert any(abs(logit) > 0.1 for _, _, logit in one)


def test_what_is_kept_of_the_start_is_the_weights_of_the_other_run(tmp_path: Path) -> None:
    """Trainers copy their reference when they are made, and turns are numbered from 0."""
    first = agentrl.train(tables(tmp_path))
    seen: list[float] = []

    class Keeps(Trainer):
        def __init__(self, model: agentrl.Model) -> None:
            super().__init__(model)
            seen.append(float(np.abs(getattr(model, "logits")).sum()))  # noqa: B009

    warm = agentrl.train(
        tables(tmp_path, name="warm", start_from=str(first.folder), trainer={}, stages=[{"name": "rl", "updates": 1}]),
        parts={"trainer": Keeps},
    )
    assert seen
    assert min(seen) > 0.1
    played = agentrl.read_trajectories(warm.folder / "updates/000000/trajectories.parquet")
    assert {int(version) for t in played for turn in t.turns for version in turn.completion.versions} == {0}


def test_parts_given_from_python_are_given_again_on_resume(tmp_path: Path) -> None:
    def half(trajectories: Any, *, scale: float = 1.0) -> Any:
        return [np.full(len(t.turns), scale) for t in trajectories]

    result = agentrl.train(tables(tmp_path, credit={"scale": 0.5}), parts={"credit": half})
    assert np.asarray(Run.open(result.folder).commits()[0].advantages()[0])[0] == 0.5
    with pytest.raises(ConfigError, match="given/credit"):
        agentrl.resume(result.folder)
    assert agentrl.resume(result.folder, parts={"credit": half}).folder == result.folder


# ------------------------------------------------------------------------------------------------------- resuming


def cut_after(folder: Path, update: int) -> None:
    """Take a finished run back to where it stood when it died after an update."""
    for path in (folder / "updates").iterdir():
        if int(path.name) > update:
            shutil.rmtree(path)
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "evaluations", ignore_errors=True)
    (folder / "summary.json").unlink()


def final_table(folder: Path) -> str:
    return (folder / "model/table.json").read_text()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_with_checkpoints_every_third_update_a_resumed_run_ends_the_same(cut: int, tmp_path: Path) -> None:
    config = tables(tmp_path, checkpoint_every=3, stages=[{"name": "rl", "updates": 6}])
    whole = agentrl.train(config)
    expected = final_table(whole.folder)
    commits = Run.open(whole.folder).commits()
    assert [commit.has_checkpoint for commit in commits][-1]
    cut_after(whole.folder, cut)
    if cut < 2:
        assert agentrl.resume(whole.folder).folder == whole.folder
        assert (whole.folder / "replaced").exists(), "updates after the last checkpoint are played again"
    else:
        agentrl.resume(whole.folder)
    assert final_table(whole.folder) == expected


def test_a_missing_evaluation_is_played_first_on_resume(tmp_path: Path) -> None:
    config = tables(tmp_path, evaluation={"split": "valid", "tasks": 4, "every": 2, "during_split": "train", "during_tasks": 3},
                    stages=[{"name": "rl", "updates": 4}])  # fmt: skip
    whole = agentrl.train(config)
    kept = json.loads((whole.folder / "evaluations/000002-during/evaluation.json").read_text())
    cut_after(whole.folder, 1)
    agentrl.resume(whole.folder)
    assert json.loads((whole.folder / "evaluations/000002-during/evaluation.json").read_text()) == kept


class Counts(Uniform):
    """A sampler with state that can be checked."""

    def __init__(self, splits: agentrl.Splits, seed: agentrl.Seed, *, tasks: int = 3) -> None:
        super().__init__(splits, seed, tasks=tasks)
        self.seen = 0

    def observe(self, batch: agentrl.Batch) -> None:
        self.seen += len(batch.groups)

    def state(self) -> dict[str, int]:
        return {"seen": self.seen}

    def restore(self, state: Any) -> None:
        self.seen = int(state["seen"])
        if self.seen < 0:
            raise ValueError(f"seen = {self.seen}")


def test_state_that_is_not_what_was_kept_is_refused_naming_the_part(tmp_path: Path) -> None:
    result = agentrl.train(tables(tmp_path, sampler={}), parts={"sampler": Counts})
    cut_after(result.folder, 1)
    commit = result.folder / "updates/000001"
    state = json.loads((commit / "state.json").read_text())
    assert state["stages"]["rl"]["sampler"] == {"seen": 6}
    state["stages"]["rl"]["sampler"] = {"seen": -1}
    _rewrite(commit, json.dumps(state))
    with pytest.raises(RecordError, match="the state of sampler 'given/sampler'.*cannot be restored.*seen = -1"):
        agentrl.resume(result.folder, parts={"sampler": Counts})


def _rewrite(folder: Path, state: str) -> None:
    from agentrl.data.commit import Commit
    from agentrl.data.durable import Fingerprint

    (folder / "state.json").write_text(state)
    commit = Commit.read(folder)
    commit.files["state.json"] = Fingerprint.of(folder / "state.json")
    commit.write(folder / "commit.json")


def test_a_part_that_would_lose_its_state_is_refused_at_the_start(tmp_path: Path) -> None:
    class Forgetful:
        scope = "run"

        def __call__(self, trajectories: Any) -> Any:
            return [np.zeros(len(t.turns)) for t in trajectories]

    with pytest.raises(ConfigError, match="carries something from update to update"):
        agentrl.train(tables(tmp_path, credit={}), parts={"credit": Forgetful})

"""Writes docs/run-file.md from the models of agentrl/parts/run_file.py and the kinds; a test keeps it current."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agentrl.data.schedules import EXAMPLES
from agentrl.parts.kinds import KINDS
from agentrl.parts.run_file import EvaluationPlan, PlayerSettings, RunFile, Stage
from agentrl.parts.settings import describe

TARGET = Path(__file__).with_name("run-file.md")
BOUNDS = {"gt": "above", "ge": "at least"}
ELSEWHERE = {"parts", "tables", "shapers", "judges", "loggers"}
"""Fields that a run file writes in another way; the table of kinds has them."""
LINKS = {
    "player": "How worlds are played: see [`[player]`](#player).",
    "evaluation": "Which held-out tasks are played, and when: see [`[evaluation]`](#evaluation).",
    "stages": "The loops of the run, one after the other: see [`[[stages]]`](#stages).",
}

PAGE = """# The run file

A run file is TOML. It names the parts of a run, each with its settings, and the stages in which they are used. Generated
by `make docs` from `agentrl/parts/run_file.py` and `agentrl/parts/kinds.py`; do not edit.

```console
$ agentrl train RUN.toml                      train, in a new run folder
$ agentrl train RUN.toml seed=2 stages.learn.credit.gamma=0.9
$ agentrl train RUN.toml --dry-run            check names, settings and types; build nothing, say what would be done
$ agentrl train RUN.toml --check              build everything, compare it, play one task; write nothing
$ agentrl train --resume RUN_FOLDER           go on after the last update that is on disk
$ agentrl train --resume RUN.toml             the same for the newest run of this file; if the file has more updates, for longer
$ agentrl eval RUN.toml                       only play the held-out tasks
```

Weights may come from another run, `start_from = "runs/other"`. Any key can be set on the command line as `key.sub=value`; an
entry of a list is named by its `name` or its position. A key that means nothing is refused with the nearest right one,
and a value that does not fit with what is taken.

**Files and names.** A run file is UTF-8 in every locale; a byte order mark and Windows line ends are fine. `name` becomes a
folder: letters, digits, `-`, `_`, and inside blanks and `.`. A relative path begins at the folder in which the command is
started, not at that of the run file, and `~` is your home. What is a folder here is never looked up on a hub.

**The run folder** keeps the file as `run.toml`, overrides applied and paths in full, so that a run goes on from any folder.
It can be moved: resumed, evaluated and begun from where it is then. Files that do not belong to it are ignored.

**Longer.** A run goes on as it began. Two changes are welcome, in the file that `--resume` is given or in the `run.toml` of
the folder: more `updates` (or `repeat`) of the last stage, and further stages after it. Where data lies may change, too.
`summary.json` says so, and names parts whose schedule follows the updates of their stage: it is not that of a run that was
so long from the start.

## Keys of the file

{run}

The tables `[environment]`, `[model]`, `[policy]` … are [parts](#parts). A smallest run:

```toml
name = "corridor"
environment = {{ name = "corridor" }}
model = "table"
policy = "tabular"
trainer = {{ name = "tabular", learning_rate = 0.5 }}
credit = "rloo"
sampler = {{ name = "uniform", tasks = 4 }}
collector = {{ name = "asynchronous", group_size = 8 }}
evaluation = {{ split = "valid", tasks = 8 }}

[[stages]]
name = "learn"
updates = 20
```

## `[player]`

{player}

The table of a stage, `player = {{ … }}` inside `[[stages]]`, changes single keys.

## `[evaluation]`

{evaluation}

`split` is played between two stages and at the end of the run. A file without `[[stages]]`, trainer and model is fine
for `agentrl eval`:

```toml
name = "expert"
environment = "corridor"
policy = "expert"
evaluation = {{ split = "valid", tasks = 8 }}
```

## `[[stages]]`

Each stage is one loop: play, credit, update, hand over. It names what differs from the run; all else is the run's.

{stage}

With `staleness = 1` an update is played while the one before it is trained; that needs an engine with weights of its
own. Stages may repeat and alternate; the ones that `of` names are played only there, and go on where they stood:

```toml
name = "alternating"
environment = "corridor"
model = "table"
policy = "tabular"
trainer = "tabular"

[[stages]]
name = "explore"
updates = 2
credit = "grpo"

[[stages]]
name = "settle"
updates = 1
credit = "return_to_go"

[[stages]]
name = "both"
repeat = 10
of = ["explore", "settle"]
```

## Parts

A part is chosen by `name`; every other key of its table is one of its settings. `credit = "rloo"` is short for
`credit = {{ name = "rloo" }}`. `agentrl list KIND` shows what is installed, `agentrl show KIND NAME` every setting with
its type, default and meaning. A stage that gives a table without `name` changes single settings of the run's part.

{kinds}

Some settings take another part: a name, a table, or `"models.NAME"` and `"policies.NAME"`, which are further parts of
the run. `[policies.NAME]` also plays the speaker of that name, where the world has several, and `trains` says whose
turns a stage trains:

```toml
name = "two-speakers"
environment = "lab_pennies"
model = "table"
policy = "tabular"
trainer = "tabular"
credit = "grpo"
sampler = {{ name = "uniform", tasks = 4 }}

[models.second]
name = "table"

[policies.other]
name = "tabular"
model = "models.second"

[[stages]]
name = "first"
updates = 5
trains = ["agent"]

[[stages]]
name = "second"
updates = 5
trains = ["other"]
```

## Schedules

A setting whose type is `Scheduled[…]` takes a number or a schedule over the updates of its stage, counted from 0 (over
all its repetitions where it repeats). It takes its value when a draw is issued, and is logged as `setting/PART.NAME`.

{schedules}

## Earlier run files

Files of the first form still run: settings of the player that stand in the collector's table (`concurrency`, `retries`,
`step_timeout_s`, `max_turns`, `max_tokens`) are read as `[player]`, unless the collector has a setting of that name.
"""


def page() -> str:
    """The whole page as Markdown."""
    return PAGE.format(
        run=_table(RunFile),
        player=_table(PlayerSettings),
        evaluation=_table(EvaluationPlan),
        stage=_table(Stage),
        kinds=_kinds(),
        schedules="\n".join(f"- `{example}`" for example in EXAMPLES.values()),
    )


def _table(model: type[BaseModel]) -> str:
    meanings = _attribute_docstrings(model)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in ELSEWHERE or (model is Stage and name == "player"):
            continue
        bounds = [f"{words} {bound}" for item in field.metadata for attribute, words in BOUNDS.items()
                  if (bound := getattr(item, attribute, None)) is not None]  # fmt: skip
        kind = ", ".join([_type(field.annotation), *bounds])
        own = model is Stage and name in ("name", "updates")
        default = (
            "" if own else "needed" if field.is_required() else _value(field.get_default(call_default_factory=True))
        )
        rows.append(f"| `{name}` | {kind} | {default} | {LINKS.get(name) or meanings[name]} |")
    return "\n".join(rows)


def _type(annotation: object) -> str:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "table"
    text = describe(annotation).replace("|", "\\|")
    for given, written in (
        ("EvaluationPlan", "table"), ("list[Stage]", "list of tables"), ("Mapping[str, Spec]", "tables"),
        ("dict[str, object]", "table"), ("list[str]", "list of str"), ("Path", "path"), ("Literal['all']", '"all"'),
        (" \\| None", ""),
    ):  # fmt: skip
        text = text.replace(given, written)
    return text


def _value(default: object) -> str:
    if default in (None, (), {}, PydanticUndefined) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`[{', '.join(_value(item).strip('`') for item in default)}]`"
    return f"`{default}`" if isinstance(default, (int, float)) else f'`"{default}"`'


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field → the string that follows it in the source."""
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    words = {}
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(node, ast.Expr):
            words[before.target.id] = " ".join(ast.literal_eval(node.value).split())
    return words


def _kinds() -> str:
    rows = ["| kind | key | one for | unless given | what it is |", "|---|---|---|---|---|"]
    for kind in KINDS.values():
        if kind.name == "sandbox":
            key, owner = "a setting of a world, `sandbox`", "a process"
        elif kind.many:
            key, owner = (
                f"`{kind.many}`, a list of tables",
                "the run" if kind.name == "logger" else "a stage, any number",
            )
        else:
            key, owner = f"`[{kind.name}]`", "a stage, or the run" if kind.stage else "the run"
        default = f"`{kind.default}`" if kind.default else ""
        rows.append(f"| {kind.name} | {key} | {owner} | {default} | {kind.does} |")
    return "\n".join(rows)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")

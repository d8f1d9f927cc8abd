"""`agentrl check` says in one line what is wrong with a stranger's plugin, whatever that does, and always ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from plugin_install import environ, install

LIMIT_S = 3
CREDIT = "def {name}(trajectories):\n    {body}\n"
ZEROS = "return [0 * t.rewards for t in trajectories]"
MODULES = {
    ("credit", "syntax"): "def register_credits(register:\n",
    ("credit", "imports"): "import no_such_library\n",
    ("credit", "later"): "LATER = 'no_such_library:thing'\n",
    ("credit", "broken_later"): "LATER = 'plugin_that_raises:thing'\n",
    ("credit", "takes_nothing"): "def takes_nothing():\n    return []\n",
    ("credit", "needs_gamma"): "def needs_gamma(trajectories, *, gamma: float):\n    return []\n",
    ("credit", "unknown_type"): "def unknown_type(trajectories, *, x: 'NoSuchType' = 3):\n    return []\n",
    ("credit", "raises"): CREDIT.format(name="raises", body="raise ValueError('one\\ntwo')"),
    ("credit", "exits"): CREDIT.format(name="exits", body="sys.exit(0)"),
    ("credit", "hangs"): CREDIT.format(name="hangs", body="time.sleep(1e6)"),
    ("credit", "loops"): CREDIT.format(name="loops", body="while True: pass"),
    ("credit", "words"): CREDIT.format(name="words", body="return [['a'] * len(t.turns) for t in trajectories]"),
    ("credit", "seeds"): CREDIT.format(name="seeds", body=f"np.random.seed(0); {ZEROS}"),
    ("credit", "prints"): CREDIT.format(name="prints", body=f"print('{{}}'); {ZEROS}"),
    ("credit", "empties"): CREDIT.format(name="empties", body="trajectories.clear(); return []"),
    ("credit", "counts"): (
        "class counts:\n    calls = 0\n    def __call__(self, trajectories):\n        self.calls += 1\n"
        "        return [0 * t.rewards + self.calls for t in trajectories]\n"
    ),
    ("sampler", "no_database"): "class no_database:\n    def __init__(self):\n        raise OSError('no database')\n",
    ("sampler", "slow_to_make"): "class slow_to_make:\n    def __init__(self):\n        time.sleep(1e6)\n",
    ("judge", "deaf"): "class deaf:\n    async def annotate(self, trajectories):\n        await asyncio.sleep(1e6)\n",
    ("environment", "no_world"): "class no_world:\n    pass\n",
    ("environment", "no_data"): "class no_data(agentrl.TextWorld):\n    def __init__(self):\n        raise OSError('no data')\n",
    ("trainer", "other_model"): (
        "class other_model:\n    def __init__(self, model: agentrl.Model):\n        self.model, self.x = model, model.table\n"
        "    async def update(self, batch, advantages):\n        return {}\n"
    ),
}  # fmt: skip
"""(kind, name) → the module that offers it."""
HOOK = """
def register_{kind}s(register):
    register("{name}", globals().get("LATER") or {name})
"""
SAID = {
    "syntax": "there is no credit named 'syntax'. Switched off: credit.syntax (cannot be imported",
    "imports": "Switched off: credit.imports (cannot be imported from 'imports_credit': ModuleNotFoundError",
    "later": "'later' of plugin 'credit.later' is registered as 'no_such_library:thing', which cannot be imported",
    "broken_later": "which cannot be imported: RuntimeError: no licence",
    "takes_nothing": "credit 'takes_nothing' of plugin 'credit.takes_nothing' is called with (trajectories), and takes ()",
    "needs_gamma": "credit 'needs_gamma' needs the setting 'gamma' (float).",
    "unknown_type": "its signature cannot be resolved: NameError: name 'NoSuchType' is not defined; import it at run time",
    "raises": "FAIL it gives a finite number for every turn or token: raised ValueError: one two (raises_credit.py, line 6)",
    "exits": "FAIL it gives a finite number for every turn or token: raised SystemExit: 0 (exits_credit.py",
    "hangs": "FAIL it gives a finite number for every turn or token: it had not ended after 3 s",
    "loops": "FAIL it gives a finite number for every turn or token: it had not ended after 3 s",
    "words": "FAIL it gives a finite number for every turn or token: raised PluginError: credit 'words' gave 'a' for turn 0 of",
    "seeds": "FAIL global generators stay untouched: it draws from, or seeds, NumPy's global generator",
    "empties": "FAIL it gives a finite number for every turn or token: raised PluginError: credit 'empties' gave 0 entries",
    "counts": "FAIL a second call gives the same: the same trajectories get other advantages the second time: 1 and 2",
    "no_database": "sampler 'no_database' of plugin 'sampler.no_database' cannot be made: OSError: no database",
    "slow_to_make": "sampler 'slow_to_make' of plugin 'sampler.slow_to_make' cannot be made: it had not ended after 3 s",
    "deaf": "FAIL it can be awaited: it had not ended after 3 s",
    "no_world": "FAIL it can be made and reset: raised PluginError: environment 'no_world' of plugin 'environment.no_world' gave <no_world",
    "no_data": "FAIL it can be made and reset: raised EnvironmentFault: environment 'no_data' of plugin 'environment.no_data' cannot",
    "other_model": "AttributeError: 'SampleModel' object has no attribute 'table'. Name one "
    "for the check: agentrl check trainer other_model model=NAME",
}  # fmt: skip
"""Name → what is said of it."""
COMMANDS = """
import json, sys
from click.testing import CliRunner
from agentrl.cli import main

done = [CliRunner().invoke(main, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stdout, one.stderr, repr(one.exception)] for one in done]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """name → exit code, output, errors and exception of `agentrl check`."""
    folder, site = tmp_path_factory.mktemp("plugin"), tmp_path_factory.mktemp("site")
    points = []
    for (kind, name), text in MODULES.items():
        head = "import asyncio, sys, time\nimport agentrl\nimport numpy as np\n\n"
        source = head + text + HOOK.format(kind=kind, name=name)
        (folder / f"{name}_{kind}.py").write_text(source, encoding="utf-8")
        points.append(f'"{kind}.{name}" = "{name}_{kind}"')
    (folder / "plugin_that_raises.py").write_text("raise RuntimeError('no licence')\n")
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
        "[project]\nname = 'strange'\nversion = '1'\n[project.entry-points.agentrl]\n" + "\n".join(points)
        + "\n[tool.hatch.build.targets.wheel]\ninclude = ['*.py']\n"
    )  # fmt: skip
    install(folder, site)
    words = [["check", kind, name, "--time-limit", str(LIMIT_S), *_json(name)] for kind, name in MODULES]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(words)],
        capture_output=True, text=True, check=False, env=environ(site), cwd=folder, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip((name for _, name in MODULES), json.loads(done.stdout.splitlines()[-1]), strict=True))


def _json(name: str) -> list[str]:
    return ["--json"] if name == "prints" else []


@pytest.mark.parametrize("name", SAID)
def test_what_is_wrong_is_said_in_one_line(name: str, answers: dict[str, list[object]]) -> None:
    code, output, errors, _ = answers[name]
    assert code in (1, 2)
    lines = [line for line in f"{output}\n{errors}".splitlines() if SAID[name] in line]
    assert len(lines) == 1, (output, errors)
    assert "Traceback" not in f"{output}{errors}"


@pytest.mark.parametrize("name", SAID)
def test_a_report_ends_with_the_plugin(name: str, answers: dict[str, list[object]]) -> None:
    code, output, errors, _ = answers[name]
    if code == 1:
        kind = next(kind for kind, known in MODULES if known == name)
        assert f"{kind} {name} of plugin {kind}.{name}: " in str(output).splitlines()[-1]
    else:
        assert str(errors).startswith("agentrl: ")


def test_what_a_part_prints_is_no_part_of_the_report(answers: dict[str, list[object]]) -> None:
    code, output, errors, _ = answers["prints"]
    assert code == 0
    assert json.loads(str(output))["passed"]
    assert str(errors).startswith("{}")

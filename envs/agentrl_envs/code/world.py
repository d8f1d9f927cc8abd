"""Code: the Gymnasium world around problems, workplaces and their tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, cast

import gymnasium
import numpy as np

import agentrl
from agentrl import ConfigError, SandboxLimits, SandboxProvider, SandboxSpec, Task
from agentrl_envs.code import generate, reading, records, tiny
from agentrl_envs.code.languages import language_of
from agentrl_envs.code.mutants import mutant
from agentrl_envs.code.problems import Problem, Program
from agentrl_envs.code.report import verdict
from agentrl_envs.code.repository import Folder
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import OneFile, Sandboxes, Workplace

Info: TypeAlias = dict[str, Any]

TINY_INSTRUCTIONS = (
    "One line of the function may be wrong. Answer `line 2: return a + b`, or `submit` when it is right."
)


class Code(agentrl.Environment):
    """Write a program, run it, read the failure, repair it; hidden tests in a clean second sandbox decide.

    Without `files`, problems are generated: the preset `full` has some 750 in 68 families (those of `test` are in no
    other split), `tiny` some 3,000 functions of two to five lines with one wrong line, a short observation and
    `info["admissible"]`. `files` maps splits to files of HumanEval, MBPP, LiveCodeBench or SWE-bench (`repositories`:
    the folder of their files; `test_command` runs one test of them, pytest or unittest are known without).

    The reward comes at the end: `partial` times the share of hidden tests that pass, and the rest if all do; when the
    turns are used up, what is there is judged. `info["tests"]` then tells how each went. Whatever a program does is
    data; when a sandbox fails, SandboxFault is raised, and there is no reward.

    `language`: python, bash, c, javascript, perl or, with `command` and `file`, anything the sandbox's image has. Other
    languages than Python get programs that read and write text. `mistakes`: how often the expert first sends a
    solution with one thing wrong (in `tiny` the `noise` of its policy does that). `shown`: how many tests of MBPP are public. `anchor`: the observation, or that and the solution.
    """

    blocks = True

    def __init__(
        self,
        sandbox: SandboxProvider | Callable[[], SandboxProvider] | None = None,
        *,
        preset: Literal["full", "tiny"] = "full",
        files: Mapping[str, str] | None = None,
        format: records.Format = "auto",  # noqa: A002
        repositories: str = "",
        test_command: tuple[str, ...] = (),
        shown: int = 1,
        language: str = "python",
        command: tuple[str, ...] = (),
        file: str = "",
        max_turns: int | None = None,
        partial: float = 0.2,
        timeout_s: float = 4.0,
        grading_s: float = 45.0,
        memory_mib: int = 256,
        mistakes: float = 0.0,
        anchor: Literal["observation", "state"] = "observation",
        admissible: bool = True,
    ) -> None:
        """`max_turns`: 8, in the tiny preset 5. `timeout_s` is for one test or run, `grading_s` for all tests together."""
        _check(max_turns, partial, mistakes, timeout_s, grading_s, shown)
        if preset == "tiny" and (files or language != "python" or command):
            raise ConfigError("the preset 'tiny' is generated Python; leave out `files`, `language` and `command`")
        self._language = language_of(language, command, file, timeout_s, grading_s)
        self._name = language
        self._preset: Literal["full", "tiny"] = preset
        self._loaded: dict[str, tuple[Problem, ...]] | None = None
        if files:
            self._loaded = records.load(
                files, format, shown=shown, repositories=repositories, test_command=test_command
            )
            self._check_language()
        self._max_turns = max_turns if max_turns is not None else 5 if preset == "tiny" else 8
        self._partial, self._timeout_s, self._mistakes = partial, timeout_s, mistakes
        self._anchor_is_state, self._admissible = anchor == "state", admissible
        limits = SandboxLimits(wall_s=max(grading_s, timeout_s), cpu_s=max(grading_s, timeout_s), memory_mib=memory_mib)
        self._sandboxes = Sandboxes(functools.cache(functools.partial(_provider, sandbox)), SandboxSpec(limits=limits))
        self.instructions = self._instructions()
        self._place: Workplace | None = None
        self._turns, self._over, self._last, self._mistake = 0, False, "", ""
        self._ran = False  # whether a sandbox was used in this episode
        self._trials: tuple[Trial, ...] = ()
        self._milestones: tuple[str, ...] = ()
        self.render_mode: str | None = None

    @property
    def splits(self) -> Mapping[str, int]:  # type: ignore[override]
        """How many problems each split has."""
        if self._loaded is not None:
            return {split: len(problems) for split, problems in self._loaded.items()}
        return tiny.split_sizes() if self._preset == "tiny" else generate.split_sizes()

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a problem. Raises ConfigError where no sandbox can be made on this machine."""
        super().reset(seed=seed)
        problem = self._problem(self.pick_task(options))
        self._leave()
        self._place = self._workplace(problem)
        self._turns, self._over, self._trials, self._milestones = 0, False, (), ()
        self._ran, self._mistake = False, self._some_mistake(problem)
        self._last = self._place.opening()
        return self._last, self._info(self._place, {"tests": 0.0, "solved": 0.0}, "")

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Do what a message asks for; see `instructions`."""
        place, rewards, invalid = self._working(), {"tests": 0.0, "solved": 0.0}, ""
        if self._over:
            self._last = "It is over."
            return self._last, 0.0, True, False, self._info(place, rewards, "it is over")
        self._turns += 1
        command = reading.read(action)
        if isinstance(command, str):
            self._last, invalid = f"Nothing was done: {command}.", command
        elif command.kind:
            self._last, invalid = place.act(command)
            self._ran = self._ran or not invalid
            self._note(place)
        submitted = isinstance(command, reading.Command) and command.submit and not invalid
        last = self._turns >= self._max_turns
        if submitted or last:
            rewards = self._judge(place, self._last if isinstance(command, str) or command.kind else "")
        return (
            self._last, sum(rewards.values()), submitted, last and not submitted, self._info(place, rewards, invalid)
        )  # fmt: skip

    def expert_action(self) -> str:
        """What an expert would send now. Raises NotImplementedError where no solution is known."""
        place = self._working()
        if self._name != "python" and not self._loaded:
            raise NotImplementedError("the expert writes Python only")
        return place.expert(self._mistake if self._turns == 0 else "")

    def snapshot(self) -> object:
        """The problem, what was written (a folder's files included), and the random state; no sandbox."""
        place = self._working()
        random_state = None if self._np_random is None else self._np_random.bit_generator.state
        counted = (self._turns, self._over, self._last, self._mistake, self._ran, self._trials, self._milestones)
        return place.problem, place.state(), counted, random_state, self._sandboxes.grade

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot, also one taken by another instance."""
        problem, state, counted, random_state, grade = cast(tuple[Problem, Any, Any, Any, Any], snapshot)
        self._leave()
        self._place = self._workplace(problem)
        self._place.load(state)
        self._turns, self._over, self._last, self._mistake, self._ran, self._trials, self._milestones = counted
        self._sandboxes.grade = self._sandboxes.grade or grade
        if random_state is not None:
            self.np_random.bit_generator.state = random_state

    def render(self) -> str | None:
        """The last observation."""
        return self._last if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Give back the sandboxes; what was written stays, and the world can go on."""
        self._leave()
        self._sandboxes.close()

    def _leave(self) -> None:
        if self._place is not None:
            self._place.close()

    def _problem(self, task: Task) -> Problem:
        if self._loaded is not None:
            return self._loaded[task.split][task.index]
        if self._preset == "tiny":
            return tiny.problem(task.split, task.index)
        return generate.problem_list(task.split, as_program=bool(self._language.command))[task.index]

    def _workplace(self, problem: Problem) -> Workplace:
        if problem.repository is not None:
            return Folder(problem, self._sandboxes, self._timeout_s)
        return OneFile(problem, self._sandboxes, self._language, self._name)

    def _working(self) -> Workplace:
        if self._place is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no task has begun")
        return self._place

    def _note(self, place: Workplace) -> None:
        if isinstance(place, OneFile) and place.passes and "public" not in self._milestones:
            self._milestones = (*self._milestones, "public")

    def _judge(self, place: Workplace, said: str) -> dict[str, float]:
        self._over = self._ran = True
        self._trials = place.judge()
        passed, total = sum(trial.passed for trial in self._trials), len(self._trials)
        if passed == total:
            self._milestones = (*self._milestones, "hidden")
        self._last = verdict(passed, total) if not said else f"{said}\n\n{verdict(passed, total)}"
        place.close()
        return {"tests": self._partial * passed / total, "solved": (1 - self._partial) * (passed == total)}

    def _some_mistake(self, problem: Problem) -> str:
        """A wrong solution for the expert to begin with, as often as `mistakes` says."""
        if not self._mistakes or self.np_random.random() >= self._mistakes or problem.repository is not None:
            return ""
        try:
            return mutant(problem.gold, self.np_random) if problem.gold else ""
        except SyntaxError:  # the solution is in another language
            return ""

    def _info(self, place: Workplace, rewards: Mapping[str, float], invalid: str) -> Info:
        info: Info = {
            "task": f"{place.problem.name}:{place.problem.digest}",
            "anchor": f"{self._last}\n{place.written}" if self._anchor_is_state else self._last,
            "rewards": dict(rewards),
            "milestones": self._milestones,
            "success": bool(self._trials) and all(trial.passed for trial in self._trials),
            "invalid": invalid,
        }
        if self._ran and self._sandboxes.grade is not None:
            info["sandbox"] = self._sandboxes.grade
        if self._trials:
            info["tests"] = [trial.to_data(number) for number, trial in enumerate(self._trials, 1)]
        if self._admissible and place.problem.candidates:
            info["admissible"] = (*place.problem.candidates, "submit")
        return info

    def _instructions(self) -> str:
        if self._preset == "tiny":
            return TINY_INSTRUCTIONS
        if self._loaded and next(iter(self._loaded.values()))[0].repository is not None:
            return reading.IN_REPOSITORY
        run = reading.IN_OTHERS if self._language.command else reading.IN_PYTHON
        return f"{reading.PROTOCOL.format(run=run)}\nThe language is {self._name}. You have {self._max_turns} turns."

    def _check_language(self) -> None:
        problems = [problem for problems in (self._loaded or {}).values() for problem in problems]
        for problem in problems if self._language.command else ():
            if problem.repository is None and not all(isinstance(test, Program) for test in problem.hidden):
                raise ConfigError(
                    f"problem {problem.name!r} asks for a Python function; with `language` or `command` only problems "
                    "that read standard input and write standard output can be used"
                )


def _provider(sandbox: SandboxProvider | Callable[[], SandboxProvider] | None) -> SandboxProvider:
    """The provider itself, made or shared. Raises ConfigError where it cannot make sandboxes."""
    if isinstance(sandbox, SandboxProvider):
        found = sandbox
    elif sandbox is not None:
        found = sandbox()
    else:
        found = agentrl.default_host().provider(agentrl.Spec("sandbox", "bubblewrap"))
    obstacle = found.obstacle()
    if obstacle:
        raise ConfigError(
            f"the world 'code' runs programs in the sandbox {found.name!r}, which does not work on this machine: {obstacle} "
            'Another one is chosen with `sandbox = { name = "…" }` in [environment]; `agentrl list sandbox` shows them.'
        )
    return found


def _check(
    max_turns: int | None, partial: float, mistakes: float, timeout_s: float, grading_s: float, shown: int
) -> None:
    if max_turns is not None and max_turns < 1:
        raise ConfigError(f"max_turns = {max_turns}: give at least 1")
    for name, value in (("partial", partial), ("mistakes", mistakes)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} = {value}: give a number from 0 to 1")
    for name, value in (("timeout_s", timeout_s), ("grading_s", grading_s)):
        if not 0 < value < np.inf:
            raise ConfigError(f"{name} = {value}: give a number of seconds above 0")
    if shown < 0:
        raise ConfigError(f"shown = {shown}: give 0 or more")

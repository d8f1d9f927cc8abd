"""Code: the Gymnasium world around problems, workplaces and their tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

import agentrl
from agentrl import ConfigError, SandboxLimits, SandboxProvider, SandboxSpec, Scene, Task
from agentrl_envs.code import generate, reading, records, report, tiny
from agentrl_envs.code.languages import language_of
from agentrl_envs.code.mutants import mutant
from agentrl_envs.code.problems import Problem, Program
from agentrl_envs.code.repository import Folder
from agentrl_envs.code.trials import Trial
from agentrl_envs.code.workplace import OneFile, Sandboxes, Workplace

_NOTHING = {"tests": 0.0, "solved": 0.0}
TINY_INSTRUCTIONS = (
    "One line of the function may be wrong. Answer `line 2: return a + b`, or `submit` when it is right."
)


class Code(agentrl.TextWorld):
    """Write a program, run it, read the failure, repair it; hidden tests in a clean second sandbox decide.

    Without `files`, problems are generated: the preset `full` has some 750 in 68 families (those of `test` are in no
    other split), `tiny` some 4,400 functions of two to five lines with one wrong line, a short observation and
    `info["admissible"]`. `files` maps splits to files of HumanEval, MBPP, LiveCodeBench or SWE-bench (`repositories`:
    the folder of their files; `test_command` runs one test of them, pytest or unittest are known without).

    The reward comes at the end: `partial` times the share of hidden tests that pass, of those that failed before anything
    was done, and the rest if all do; when the turns are used up, what is there is judged. `info["tests"]` then tells how each went, and `info["feedback"]` shows the
    tests that failed, the hidden ones too; before the end it shows the public ones. `info["milestones"]`: `public`, `hidden`
    (all of these tests passed); `info["hidden"]` of the reset has a `solution`, where one is known. Whatever a program does is
    data; when a sandbox fails, SandboxFault is raised, and there is no reward.

    Answers are plain values, compared outside or in a process that the solution cannot look into, and files that decide
    how a test goes are put back. In folders, a test runs in the process of the code that it tests, so it has to fail, too,
    once the literals that it compares with are changed. Where a test has none, or no solution is known to try that with,
    two holes stay open: code can be written to deceive pytest and unittest (an object that equals everything), or read
    the tests while they run; a `test_command` counts its exit code, which that code can give itself.

    `language`: python, bash, c, javascript, perl or, with `command` and `file`, anything the sandbox's image has. Other
    languages than Python get programs that read and write text. `mistakes`: how often the expert first sends a
    solution with one thing wrong (in `tiny` the `noise` of its policy does that). `shown`: how many tests of MBPP are public. `anchor`: the observation, or that and the solution.
    """

    blocks = True
    after_the_end = "It is over."

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
        shares, seconds = {"partial": partial, "mistakes": mistakes}, {"timeout_s": timeout_s, "grading_s": grading_s}
        _check(max_turns, shown, shares, seconds)
        if preset == "tiny" and (files or language != "python" or command):
            raise ConfigError("the preset 'tiny' is generated Python; omit `files`, `language` and `command`")
        self._language = language_of(language, command, file, timeout_s, grading_s)
        self._name = language
        self._preset: Literal["full", "tiny"] = preset
        self._loaded: dict[str, tuple[Problem, ...]] | None = None
        if files:
            self._loaded = records.load(
                files, format, shown=shown, repositories=repositories, test_command=test_command
            )
            self._check_language()
        self.max_turns = max_turns if max_turns is not None else 5 if preset == "tiny" else 8
        self._partial, self._timeout_s, self._mistakes = partial, timeout_s, mistakes
        self._anchor_is_state, self._admissible = anchor == "state", admissible
        limits = SandboxLimits(wall_s=max(grading_s, timeout_s), cpu_s=max(grading_s, timeout_s), memory_mib=memory_mib)
        self._sandboxes = Sandboxes(functools.cache(functools.partial(_provider, sandbox)), SandboxSpec(limits=limits))
        self.instructions = self._instructions()

    @property
    def splits(self) -> Mapping[str, int]:  # type: ignore[override]
        """How many problems each split has."""
        if self._loaded is not None:
            return {split: len(problems) for split, problems in self._loaded.items()}
        return tiny.split_sizes() if self._preset == "tiny" else generate.split_sizes()

    def begin(self, task: Task) -> Scene:
        """Raises ConfigError where no sandbox can be made on this machine."""
        problem = self._problem(task)
        self._leave()
        self.place = self._workplace(problem)
        self._ran, self._mistake = False, self._some_mistake(problem)
        self._trials: tuple[Trial, ...] = ()
        self._milestones: tuple[str, ...] = ()
        gold = problem.gold or (problem.repository.gold if problem.repository else "")
        return self._scene(self.place.opening(), "", _NOTHING).replace(hidden={"solution": gold} if gold else None)

    def act(self, action: str) -> Scene:
        """Do what a message asks for; see `instructions`."""
        place, observation, invalid, rewards = self.place, "", "", _NOTHING
        place.feedback = ""
        command = reading.read(action)
        if isinstance(command, str):
            observation, invalid = f"Nothing was done: {command}.", command
        elif command.kind:
            observation, invalid = place.act(command)
            self._ran = self._ran or not invalid
            self._note(place)
        submitted = isinstance(command, reading.Command) and command.submit and not invalid
        if submitted or self.turn >= self.max_turns:
            said, rewards = self._judge(place)
            observation = f"{observation}\n\n{said}" if observation else said
        return self._scene(observation, invalid, rewards).replace(done=submitted)

    def key(self, task: Task) -> str:
        return f"{self.place.problem.name}:{self.place.problem.digest}"

    def expert_action(self) -> str:
        """What an expert would send now. Raises NotImplementedError where no solution is known."""
        if self._name != "python" and not self._loaded:
            raise NotImplementedError("the expert writes Python only")
        return self.place.expert(self._mistake if self.turn == 0 else "")

    def state(self) -> object:
        """The problem and what was written (a folder's files included); no sandbox."""
        counted = self._mistake, self._ran, self._trials, self._milestones
        return self.place.problem, self.place.state(), counted, self._sandboxes.grade

    def load(self, state: Any) -> None:
        problem, written, counted, grade = state
        self._leave()
        self.place = self._workplace(problem)
        self.place.load(written)
        self._mistake, self._ran, self._trials, self._milestones = counted
        self._sandboxes.grade = self._sandboxes.grade or grade

    def close(self) -> None:
        """Give back the sandboxes; what was written stays, and the world can go on."""
        self._leave()
        self._sandboxes.close()

    def _leave(self) -> None:
        if hasattr(self, "place"):
            self.place.close()

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

    def _note(self, place: Workplace) -> None:
        if isinstance(place, OneFile) and place.passes and "public" not in self._milestones:
            self._milestones = (*self._milestones, "public")

    def _judge(self, place: Workplace) -> tuple[str, dict[str, float]]:
        self._ran = True
        self._trials = place.judge()
        passed, total = sum(trial.passed for trial in self._trials), len(self._trials)
        if passed == total:
            self._milestones = (*self._milestones, "hidden")
        counted = [trial.passed for trial in place.counted(self._trials)]
        place.feedback = report.failures(place.problem, self._trials)
        place.close()
        rewards = {
            "tests": self._partial * sum(counted) / len(counted),
            "solved": (1 - self._partial) * (passed == total),
        }
        return report.verdict(passed, total), rewards

    def _some_mistake(self, problem: Problem) -> str:
        """A wrong solution for the expert to begin with, as often as `mistakes` says."""
        if not self._mistakes or self.np_random.random() >= self._mistakes or problem.repository is not None:
            return ""
        try:
            return mutant(problem.gold, self.np_random) if problem.gold else ""
        except SyntaxError:  # the solution is in another language
            return ""

    def _scene(self, observation: str, invalid: str, rewards: Mapping[str, float]) -> Scene:
        info: dict[str, object] = {}
        if self._ran and self._sandboxes.grade is not None:
            info["sandbox"] = self._sandboxes.grade
        if self._trials:
            info["tests"] = [trial.to_data(number) for number, trial in enumerate(self._trials, 1)]
        candidates = self.place.problem.candidates
        return Scene(
            observation,
            success=bool(self._trials) and all(trial.passed for trial in self._trials),
            admissible=(*candidates, "submit") if self._admissible and candidates else None,
            invalid=invalid,
            anchor=f"{observation}\n{self.place.written}" if self._anchor_is_state else None,
            milestones=self._milestones,
            rewards=dict(rewards),
            feedback=self.place.feedback,
            info=info,
        )

    def _instructions(self) -> str:
        if self._preset == "tiny":
            return TINY_INSTRUCTIONS
        if self._loaded and next(iter(self._loaded.values()))[0].repository is not None:
            return reading.IN_REPOSITORY
        run = reading.IN_OTHERS if self._language.command else reading.IN_PYTHON
        return f"{reading.PROTOCOL.format(run=run)}\nThe language is {self._name}. You have {self.max_turns} turns."

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


def _check(max_turns: int | None, shown: int, shares: Mapping[str, float], seconds: Mapping[str, float]) -> None:
    if max_turns is not None and max_turns < 1:
        raise ConfigError(f"max_turns = {max_turns}: give at least 1")
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} = {value}: give a number from 0 to 1")
    for name, value in seconds.items():
        if not 0 < value < np.inf:
            raise ConfigError(f"{name} = {value}: give a number of seconds above 0")
    if shown < 0:
        raise ConfigError(f"shown = {shown}: give 0 or more")

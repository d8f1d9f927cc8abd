"""The contract of sandboxes: its data, and the kit run on what this project ships."""

from __future__ import annotations

import re
from functools import partial

import pytest
from sandbox_support import ROOT, needs_bubblewrap, provider

from agentrl import Command, ConfigError, DataError, ExecResult, OutputStream, SandboxFault, SandboxLimits, SandboxSpec
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
from agentrl_sandboxes.checks.kit import CHECKS
from agentrl_sandboxes.local import CONFIRMATION, Local


@needs_bubblewrap
@pytest.mark.parametrize("check", CHECKS)
def test_bubblewrap_keeps_the_contract(check: str) -> None:
    CHECKS[check](provider())


@pytest.fixture(scope="module")
def plain() -> Bubblewrap:
    """As on a machine without overlay file systems and without writable control groups."""
    return Bubblewrap(overlay=False, cgroups=False)


@needs_bubblewrap
@pytest.mark.parametrize(
    "check",
    [
        "memory_is_limited",
        "processes_are_limited",
        "cpu_time_is_limited",
        "what_is_left_over_is_killed_and_counted",
        "reset_gives_a_new_place",
        "a_snapshot_brings_files_back",
        "a_snapshot_can_be_taken_beside_a_session",
        "a_fork_has_the_files_and_goes_its_own_way",
        "removed_permissions_are_data",
        "thousands_of_nested_folders_are_data",
    ],
)
def test_bubblewrap_keeps_the_contract_where_the_kernel_helps_less(check: str, plain: Bubblewrap) -> None:
    CHECKS[check](plain)


@needs_bubblewrap
def test_the_grade_says_where_the_kernel_helps_less(plain: Bubblewrap) -> None:
    with plain.create() as sandbox:
        grade = sandbox.grade()
    assert grade["cgroup"] == {}
    assert grade["files"] == "copies in memory"
    assert "shared inodes" in grade["system"]
    assert grade["level"] == "namespaces"


@pytest.mark.parametrize(
    "check",
    [
        "output_and_exit_code_come_back",
        "a_signal_is_not_an_exit_code",
        "a_program_that_is_not_there_is_data",
        "surroundings_are_what_was_asked_for",
        "a_time_out_ends_the_run_and_nothing_else",
        "output_keeps_head_and_tail",
        "a_flood_is_cut",
        "an_error_in_the_listener_ends_the_run",
        "closing_ends_what_runs",
        "files_go_in_and_come_out",
        "files_that_are_not_there_are_data",
        "the_grade_is_json_and_complete",
        "removed_permissions_are_data",
        "thousands_of_nested_folders_are_data",
        "files_with_odd_names_are_data",
        "text_that_is_none_is_data",
        pytest.param("many_threads_can_use_one_sandbox", marks=pytest.mark.heavy),
    ],
)
def test_local_keeps_the_contract_but_promises_nothing(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIRMATION, "1")
    with Local(trusted=True) as local:
        CHECKS[check](local)
        with local.create() as sandbox:
            assert sandbox.grade()["level"] == "none"


@pytest.mark.parametrize(("trusted", "variable"), [(False, ""), (True, ""), (False, "1"), (True, "yes")])
def test_local_is_refused_unless_two_places_allow_it(
    trusted: bool, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIRMATION, variable)
    with pytest.raises(ConfigError, match="protects nothing"):
        Local(trusted=trusted).create()


def test_a_spec_survives_a_journey_as_data() -> None:
    spec = SandboxSpec(limits=SandboxLimits(memory_mib=7), labels={"run": "1"}, env={"A": "b"}, ttl_s=5)
    assert SandboxSpec.from_data(spec.to_data()) == spec


@pytest.mark.parametrize("data", [{"imagee": "x"}, {"limits": {"memory": 5}}])
def test_a_misspelt_key_of_a_spec_is_refused_with_the_right_one(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="image|memory_mib"):
        SandboxSpec.from_data(data)


@pytest.mark.parametrize("value", [0, -1, True, float("nan"), 2**31])
def test_a_limit_has_to_be_a_positive_number(value: float) -> None:
    with pytest.raises(ConfigError, match="wall_s"):
        SandboxLimits(wall_s=value)


@pytest.mark.parametrize("wrong", [{"stdout": 3}, {"status": "fine"}, {"stdout": {"head": "no base64"}}, None])
def test_a_result_that_is_none_is_refused(wrong: dict[str, object] | None) -> None:
    data = ExecResult("exited").to_data()
    with pytest.raises(DataError, match="not the record of a run"):
        ExecResult.from_data({"status": "exited"} if wrong is None else data | wrong)


def test_a_value_that_no_spec_may_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sandbox spec"):
        SandboxSpec.from_data({"root": 3})


def test_a_fault_is_recorded_as_infrastructure_and_never_ok() -> None:
    result = ExecResult.fault(SandboxFault("the daemon is gone"))
    assert (result.status, result.ok, result.reason) == ("infrastructure", False, "the daemon is gone")


def test_a_cut_stream_says_how_much_is_missing() -> None:
    assert OutputStream(b"ab", b"yz", 10).text == "ab\n[6 bytes left out]\nyz"
    assert len(repr(OutputStream(b"x" * 10_000, b"", 10_000))) < 400


@needs_bubblewrap
def test_exec_and_python_are_short_forms_of_a_command() -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv, sys.stdin.read(), os.environ['A'])"
    given = {"stdin": b"in", "cwd": "/tmp", "env": {"A": "b"}, "timeout_s": 5.0}
    argv = ("python3", "-c", code, "x")
    with provider().create() as sandbox:
        results = [
            sandbox.run(Command(argv, **given, snippet=True)),
            sandbox.run(Command(argv, **given)),
            sandbox.exec(argv, **given),
            sandbox.python(code, args=["x"], **given),
        ]
    assert {result.stdout.text for result in results} == {"/tmp ['-c', 'x'] in b\n"}


@pytest.mark.parametrize("program", [[], ()])
def test_a_command_has_a_program(program: list[str]) -> None:
    with pytest.raises(ConfigError, match="give a program"):
        Command.of(program)


@needs_bubblewrap
def test_what_bubblewrap_cannot_do_is_said_when_asked_for() -> None:
    for spec in (SandboxSpec(image="debian:12"), SandboxSpec(network="open"), SandboxSpec(profile="strikt")):
        with pytest.raises(ConfigError, match=r"has no|Did you mean"):
            provider().create(spec)


@needs_bubblewrap
def test_the_examples_of_the_page_run() -> None:
    page = (ROOT / "docs/sandboxes.md").read_text(encoding="utf-8")
    with provider().create() as agent:
        agent.put("solution.py", b"def add(a, b): return a + b if a < 5 else 0")
        names: dict[str, object] = {"agent": agent}
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(block, names)
    assert getattr(names["score"], "fraction", None) == 0.5


@needs_bubblewrap
def test_the_strict_profile_has_no_sockets() -> None:
    code = "import socket; socket.socket()"
    with provider().create() as usual, provider().create(SandboxSpec(profile="strict")) as strict:
        assert usual.python(code).ok
        assert "Address family not supported" in strict.python(code).stderr.text
        assert usual.grade()["seccomp"] != strict.grade()["seccomp"]


@needs_bubblewrap
def test_a_root_of_ones_own_is_used_and_not_changed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name in ("bin", "lib", "lib64", "usr"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    busy = partial(_copy_program, tmp_path)
    for program in ("/usr/bin/cat", "/usr/bin/sh", "/usr/bin/touch"):
        busy(program)
    with provider().create(SandboxSpec(root=str(tmp_path))) as sandbox:
        assert sandbox.exec(["/bin/sh", "-c", "echo here"]).stdout.text == "here\n"
        assert not sandbox.exec(["/bin/touch", "/bin/planted"]).ok
        assert sandbox.exec(["/bin/touch", "mine"]).ok
        assert set(sandbox.get_tree(".").files) == {"mine"}
    assert not (tmp_path / "bin/planted").exists()


def _copy_program(root, program: str) -> None:  # type: ignore[no-untyped-def]
    """A program with the libraries it needs."""
    import shutil
    import subprocess
    from pathlib import Path

    shutil.copy(program, root / "bin")
    for word in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split():
        if word.startswith("/"):
            target = root / word.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(word).resolve(), target)

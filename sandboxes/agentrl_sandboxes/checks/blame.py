"""Who is to blame: whatever a program did to its sandbox, using the sandbox afterwards gives data, never a SandboxFault."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from agentrl import CheckFailed, DataError, Sandbox, SandboxFault, SandboxLimits, SandboxProvider, SandboxSpec, require
from agentrl_sandboxes.checks.common import Check, need_limits, sandbox_with, small_sandbox, text_of

_FULL = SandboxLimits(wall_s=20, memory_mib=64, disk_mib=256, pids=24)
_PATIENCE_S = 30.0


def removed_permissions_are_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.exec("echo x > f; mkdir d; echo y > d/g; chmod 0 f d .")
        tree = sandbox.get_tree(".")
        require(bool(tree.files or tree.refused) and set(tree.files) <= {"f", "d/g"}, f"seen: {tree}")
        _use(sandbox, "its permissions were removed")


def thousands_of_nested_folders_are_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.python("import os\nfor _ in range(1100):\n    os.mkdir('d')\n    os.chdir('d')")
        _use(sandbox, "it has folders 1,100 deep")


def memory_full_of_files_is_data(provider: SandboxProvider) -> None:
    fill = "for n in range(200):\n  for place in ('.', '/tmp'): open(f'{place}/{n}', 'wb').write(b'x' * 2**20)"
    with provider.create(SandboxSpec(limits=_FULL)) as sandbox:
        need_limits(sandbox)
        result = sandbox.python(fill)
        require(result.status == "out_of_memory", f"files of 400 MiB in a sandbox of 64 gave {result}")
        _use(sandbox, "its memory is full of files")


def files_with_odd_names_are_data(provider: SandboxProvider) -> None:
    odd = "import os\nfor name in (b'a\\nb', b'\\xff\\xfe', b'x' * 255, b' ', b'-rf', b'\\xed\\xa0\\x80'): open(name, 'w').close()"
    with small_sandbox(provider) as sandbox:
        sandbox.python(odd)
        require("a\nb" in sandbox.get_tree(".").files, "a file with a line break in its name is not there")
        _use(sandbox, "it has files with odd names")


def text_that_is_none_is_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        for text in ("\ud800", "\udcff", "a\0b"):
            for run in (sandbox.python, sandbox.exec, lambda text: sandbox.exec(["echo", text])):
                _data(partial(run, text), f"it was given {text!r}")
            _data(partial(sandbox.put, text, b""), f"a file was named {text!r}")
            _data(partial(sandbox.get_tree, text), f"a file named {text!r} was asked for")
        require(text_of(sandbox.exec("echo on")) == "on\n", "it cannot be used afterwards")


def more_than_a_program_can_be_given_is_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        for argv in (["echo", "x" * 3 * 2**20], ["echo", *["x" * 1000] * 20_000]):
            result = _data(partial(sandbox.exec, argv), "it was given too many arguments")
            require(result is None or not getattr(result, "ok", True), f"seen: {result}")
        _data(lambda: sandbox.python("#" * 20 * 2**20), "it was given 20 MiB of code")
        _data(lambda: sandbox.exec("true", env={"A": "x" * 3 * 2**20}), "it was given a variable of 3 MiB")
        require(text_of(sandbox.exec("echo on")) == "on\n", "it cannot be used afterwards")


def odd_text_in_a_session_is_data(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "python_session") as sandbox:
        for kind in ("python", "shell"):
            if f"{kind}_session" not in sandbox.abilities:
                continue
            with sandbox.session(kind) as session:
                for code in ("\ud800", "\udcff", "a\0b", "#" * 20 * 2**20):
                    _data(partial(session.run, code), f"a session was given {code[:3]!r}…")
                require(text_of(session.run("print(5)" if kind == "python" else "echo 5")) == "5\n", "it cannot go on")


def left_over_processes_are_data(provider: SandboxProvider) -> None:
    fork = "import os, time\nif os.fork() == 0:\n  until = time.time() + 3\n  while time.time() < until:\n    try:\n"
    fork += "      if os.fork() == 0: time.sleep(0.3); os._exit(0)\n    except OSError: pass\n  os._exit(0)"
    with sandbox_with(provider, "python_session") as sandbox:
        need_limits(sandbox)
        with sandbox.session("python") as session:
            session.run(fork)
            _use(sandbox, "a session left processes that take every place", reset=False)
        _use(sandbox, "a session left processes")


def _use(sandbox: Sandbox, why: str, reset: bool = True) -> None:
    """Everything that is done to a sandbox after a program; a reset has to make it new."""
    uses: Sequence[Callable[[], object]] = (
        lambda: sandbox.exec("true"),
        lambda: sandbox.python("print(1)"),
        lambda: sandbox.get_tree("."),
        lambda: sandbox.put("put", b"x"),
        sandbox.grade,
        *([sandbox.snapshot] if "snapshot" in sandbox.abilities else []),
    )
    for use in uses:
        _data(use, why)
    if reset:
        _data(sandbox.reset, why)
        result = sandbox.exec("ls -A")
        require(result.ok and text_of(result) == "", f"after a reset where {why}: {result}")


def _data(use: Callable[[], object], why: str) -> object:
    began = time.monotonic()
    try:
        return use()
    except DataError:
        return None
    except SandboxFault as fault:
        raise CheckFailed(f"{why}, and that counts as a fault of machinery: {fault}") from fault
    finally:
        require(time.monotonic() - began < _PATIENCE_S, f"{why}, and that took over {_PATIENCE_S:g} s")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        removed_permissions_are_data,
        thousands_of_nested_folders_are_data,
        memory_full_of_files_is_data,
        files_with_odd_names_are_data,
        text_that_is_none_is_data,
        more_than_a_program_can_be_given_is_data,
        odd_text_in_a_session_is_data,
        left_over_processes_are_data,
    )
}

"""The commands on sandboxes."""

from __future__ import annotations

import dataclasses
import json
import re
import types
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sandbox_support import needs_bubblewrap

import agentrl
from agentrl import ConfigError, Host, SandboxSpec, Spec
from agentrl.cli import main
from agentrl.testing import check_part, kit
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
from agentrl_sandboxes.checks.kit import ATTEMPTS
from agentrl_sandboxes.checks.naive import Naive
from agentrl_sandboxes.commands import sandbox


def call(*arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(sandbox, list(arguments), input=given)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("arguments", "output", "code"),
    [
        (("run", "--", "python", "-c", "print(1)"), "1\n", 0),
        (("run", "--", "sh", "-c", "exit 7"), "", 7),
        (("run", "--", "python3", "-c", "import os; os.kill(os.getpid(), 9)"), "", 137),
        (
            ("run", "--timeout", "0.3", "--", "sleep", "9"),
            "agentrl: ended: timeout the limit on wall-clock time\n",
            124,
        ),
        (("run", "--", "no-such-program"), "no-such-program: command not found\n", 127),
    ],
)
def test_a_program_is_run_and_its_exit_code_is_ours(arguments: tuple[str, ...], output: str, code: int) -> None:
    result = call(*arguments)
    assert (result.output, result.exit_code) == (output, code)


@needs_bubblewrap
def test_input_and_files_can_be_taken_along(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "data.txt").write_text("from a file\n")
    result = call(
        "run", "-i", "--put", str(tmp_path / "data.txt"), "--", "sh", "-c", "cat data.txt -", given=b"from us\n"
    )
    assert result.output == "from a file\nfrom us\n"


@needs_bubblewrap
def test_the_json_form_has_the_grade() -> None:
    told = json.loads(call("run", "--json", "--", "echo", "hello").output)
    assert (told["status"], told["stdout"], told["grade"]["level"]) == ("exited", "hello\n", "namespaces")


def test_the_commands_of_plugins_are_listed() -> None:
    help_page = CliRunner().invoke(main, ["--help"]).output
    assert re.search(r"^  sandbox +Run untrusted programs", help_page, re.MULTILINE)


class Lossy(Bubblewrap):
    """A stranger's provider that loses exit codes."""

    def create(self, spec: SandboxSpec | None = None) -> Any:
        sandbox = super().create(spec)
        run = sandbox.run
        sandbox.run = lambda *args, **kwargs: dataclasses.replace(run(*args, **kwargs), exit_code=0)  # type: ignore[method-assign]
        return sandbox


def host_with(provider: type) -> Host:
    hook = agentrl.hookimpl(lambda register: register("mine", provider))
    return Host({"mine": types.SimpleNamespace(register_sandboxes=hook)})


@needs_bubblewrap
@pytest.mark.heavy
def test_a_strangers_provider_is_checked_by_the_kit() -> None:
    report = check_part(Spec("sandbox", "mine"), host_with(Lossy))
    assert (report.kind, report.name, report.passed) == ("sandbox", "mine", False)
    assert "output_and_exit_code_come_back" in {result.check for result in report.failures}
    assert all(result.check.startswith("escape: ") for result in report.results[-len(ATTEMPTS) :])


def test_the_kit_says_why_a_strangers_provider_cannot_be_checked() -> None:
    class Elsewhere(Naive):
        """Never works here."""

        def obstacle(self) -> str:
            return "it needs a machine of its own"

    with pytest.raises(ConfigError, match="mine cannot be checked here: it needs a machine of its own"):
        check_part(Spec("sandbox", "mine"), host_with(Elsewhere))
    with pytest.raises(ConfigError, match="cannot be checked here"):
        kit("sandbox")(Elsewhere, name="mine")


def test_what_is_missing_is_said_with_what_to_do() -> None:
    result = call("run", "--set", "bwrap=no-such-bwrap", "--", "true")
    assert isinstance(result.exception, ConfigError)
    assert "apt-get install bubblewrap" in str(result.exception)


def test_a_pool_of_what_does_not_work_here_is_not_served() -> None:
    result = call("serve", "--port", "0", "--set", "bwrap=no-such-bwrap")
    assert isinstance(result.exception, ConfigError)
    assert "apt-get install bubblewrap" in str(result.exception)


@needs_bubblewrap
def test_the_reaper_says_what_it_did() -> None:
    assert call("reap").exit_code == 0

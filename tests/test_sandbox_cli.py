"""The commands on sandboxes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from sandbox_support import needs_bubblewrap

from agentrl import ConfigError
from agentrl.sandbox_cli import sandbox


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

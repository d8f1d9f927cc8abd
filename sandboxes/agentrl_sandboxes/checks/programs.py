"""Programs: what they are given, what comes back of them, and what they leave."""

from __future__ import annotations

import hashlib
import json
import threading
import time

from agentrl import CheckFailed, ExecResult, SandboxProvider, require
from agentrl_sandboxes.checks.common import Check, small_sandbox, text_of


def output_and_exit_code_come_back(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])
        seen = (result.status, result.exit_code, result.stdout.text, result.stderr.text)
        require(seen == ("exited", 7, "out\n", "err\n"), f"seen: {result}")
        require(sandbox.exec("exit 0").ok, "`exit 0` is not ok")


def an_argument_is_one_argument(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        hostile = ["a b", "$(id)", "'; exit 9", "", "ü∑", "*"]
        result = sandbox.exec(["python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *hostile])
        require(json.loads(text_of(result)) == hostile, f"arguments arrived as {text_of(result)}")


def standard_input_arrives_whole(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        data = bytes(range(256)) * 2000
        code = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
        expected = hashlib.sha256(data).hexdigest()
        require(text_of(sandbox.python(code, stdin=data)).strip() == expected, "python got other bytes")
        require(text_of(sandbox.exec(["python3", "-c", code], stdin=data)).strip() == expected, "exec got other bytes")
        require(sandbox.exec(["true"], stdin=data).ok, "a program that reads nothing fails when it is given input")
        require(sandbox.exec(["cat"]).ok, "without input there is no end of input")


def a_signal_is_not_an_exit_code(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec(["python3", "-c", "import os; os.kill(os.getpid(), 11)"])
        require((result.status, result.exit_code, result.signal) == ("signalled", None, 11), f"seen: {result}")


def a_program_that_is_not_there_is_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec(["no-such-program-here"])
        require((result.status, result.exit_code) == ("exited", 127), f"seen: {result}")
        result = sandbox.exec(["true"], cwd="no/such/folder")
        require(result.status == "exited" and not result.ok, f"a missing folder gave {result}")


def surroundings_are_what_was_asked_for(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.put("deep/er/file", b"x")
        result = sandbox.exec("ls; echo $FROM_SPEC $FROM_CALL", cwd="deep/er", env={"FROM_CALL": "too"})
        require(text_of(result) == "file\nyes too\n", f"seen: {text_of(result)!r}")
        result = sandbox.python("import os; print(os.listdir(), os.environ['FROM_SPEC'])", cwd="deep/er")
        require(text_of(result) == "['file'] yes\n", f"python saw: {text_of(result)!r} {result.stderr.text}")


def output_can_be_had_as_it_comes(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        pieces: list[tuple[str, bytes, float]] = []
        code = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.2)"
        result = sandbox.python(code, on_output=lambda name, data: pieces.append((name, data, time.monotonic())))
        require(result.ok and b"".join(data for _, data, _ in pieces) == b"0\n1\n2\n", f"pieces: {pieces}")
        require(pieces[-1][2] - pieces[0][2] > 0.2, "all pieces came at once")


def an_error_in_the_listener_ends_the_run(provider: SandboxProvider) -> None:
    def listener(name: str, data: bytes) -> None:
        raise KeyError("stop")

    with small_sandbox(provider) as sandbox:
        began = time.monotonic()
        try:
            sandbox.exec("echo x; sleep 30", on_output=listener)
        except KeyError:
            pass
        else:
            raise CheckFailed("the listener's error did not come through")
        require(time.monotonic() - began < 10, "the program went on for its 30 s")
        require(sandbox.exec("echo again").ok, "the sandbox cannot be used afterwards")


def runs_of_python_share_nothing_but_files(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        first = "import sys, random; sys.modules['kept'] = 1; random.seed(1); open('file', 'w').write('x')"
        require(sandbox.python(first).ok, "the first run failed")
        result = sandbox.python("import sys, os; print('kept' in sys.modules, os.path.exists('file'))")
        require(text_of(result) == "False True\n", f"seen: {text_of(result)!r}")
        numbers = {text_of(sandbox.python("import random; print(random.random())")) for _ in range(3)}
        require(len(numbers) == 3, "runs draw the same random numbers")


def python_ends_like_an_interpreter(provider: SandboxProvider) -> None:
    cases = {"1/0": 1, "import sys; sys.exit(5)": 5, "raise SystemExit": 0, "import sys; sys.exit('words')": 1, "(": 1}
    with small_sandbox(provider) as sandbox:
        for code, expected in cases.items():
            result = sandbox.python(code)
            require((result.status, result.exit_code) == ("exited", expected), f"{code!r} gave {result}")
        require("ZeroDivisionError" in sandbox.python("1/0").stderr.text, "no traceback of an exception")
        result = sandbox.python("import atexit; atexit.register(print, 'last'); print('first')")
        require(text_of(result) == "first\nlast\n", f"exit functions: {text_of(result)!r}")


def many_threads_can_use_one_sandbox(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        seen: list[str] = []

        def work(number: int) -> None:
            for round_ in range(3):
                seen.append(text_of(sandbox.python(f"print({number}, {round_})")).strip())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = sorted(f"{number} {round_}" for number in range(4) for round_ in range(3))
        require(sorted(seen) == expected, f"seen: {sorted(seen)}")


def what_a_run_was_can_be_kept(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        result = sandbox.exec("echo out; echo err >&2; exit 3")
        require(ExecResult.from_data(json.loads(json.dumps(result.to_data()))) == result, "it changed on the way")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        output_and_exit_code_come_back,
        an_argument_is_one_argument,
        standard_input_arrives_whole,
        a_signal_is_not_an_exit_code,
        a_program_that_is_not_there_is_data,
        surroundings_are_what_was_asked_for,
        output_can_be_had_as_it_comes,
        an_error_in_the_listener_ends_the_run,
        runs_of_python_share_nothing_but_files,
        python_ends_like_an_interpreter,
        many_threads_can_use_one_sandbox,
        what_a_run_was_can_be_kept,
    )
}

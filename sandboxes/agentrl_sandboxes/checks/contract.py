"""The contract of a sandbox, check by check, for any provider."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from agentrl import (
    CheckFailed,
    CheckSkipped,
    ConfigError,
    DataError,
    ExecResult,
    Sandbox,
    SandboxFault,
    SandboxLimits,
    SandboxProvider,
    SandboxSpec,
    require,
)

Check = Callable[[SandboxProvider], str | None]

SMALL = SandboxLimits(wall_s=20, cpu_s=1, memory_mib=128, pids=24, file_mib=8, disk_mib=32, output_kib=16, flood_mib=8)


def _make(provider: SandboxProvider, ttl_s: float = 600.0) -> Sandbox:
    return provider.create(SandboxSpec(limits=SMALL, ttl_s=ttl_s, env={"FROM_SPEC": "yes"}))


def _text(result: ExecResult) -> str:
    return (result.stdout.head + result.stdout.tail).decode()


def _needs(sandbox: Sandbox, ability: str) -> None:
    if ability not in sandbox.abilities:
        raise CheckSkipped(f"it does not say that it has {ability!r}")


def _promises_limits(sandbox: Sandbox) -> None:
    if sandbox.grade().get("level") == "none":
        raise CheckSkipped("its grade says that it promises nothing")


def output_and_exit_code_come_back(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])
        seen = (result.status, result.exit_code, result.stdout.text, result.stderr.text)
        require(seen == ("exited", 7, "out\n", "err\n"), f"seen: {result}")
        require(sandbox.exec("exit 0").ok, "`exit 0` is not ok")


def an_argument_is_one_argument(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        hostile = ["a b", "$(id)", "'; exit 9", "", "ü∑", "*"]
        result = sandbox.exec(["python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *hostile])
        require(json.loads(_text(result)) == hostile, f"arguments arrived as {_text(result)}")


def standard_input_arrives_whole(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        data = bytes(range(256)) * 2000
        code = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
        import hashlib

        expected = hashlib.sha256(data).hexdigest()
        require(_text(sandbox.python(code, stdin=data)).strip() == expected, "python got other bytes")
        require(_text(sandbox.exec(["python3", "-c", code], stdin=data)).strip() == expected, "exec got other bytes")
        require(sandbox.exec(["true"], stdin=data).ok, "a program that reads nothing fails when it is given input")
        require(sandbox.exec(["cat"]).ok, "without input there is no end of input")


def a_signal_is_not_an_exit_code(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec(["python3", "-c", "import os; os.kill(os.getpid(), 11)"])
        require((result.status, result.exit_code, result.signal) == ("signalled", None, 11), f"seen: {result}")


def a_program_that_is_not_there_is_data(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec(["no-such-program-here"])
        require((result.status, result.exit_code) == ("exited", 127), f"seen: {result}")
        result = sandbox.exec(["true"], cwd="no/such/folder")
        require(result.status == "exited" and not result.ok, f"a missing folder gave {result}")


def surroundings_are_what_was_asked_for(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        sandbox.put("deep/er/file", b"x")
        result = sandbox.exec("ls; echo $FROM_SPEC $FROM_CALL", cwd="deep/er", env={"FROM_CALL": "too"})
        require(_text(result) == "file\nyes too\n", f"seen: {_text(result)!r}")
        result = sandbox.python("import os; print(os.listdir(), os.environ['FROM_SPEC'])", cwd="deep/er")
        require(_text(result) == "['file'] yes\n", f"python saw: {_text(result)!r} {result.stderr.text}")


def a_time_out_ends_the_run_and_nothing_else(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        sandbox.put("kept", b"x")
        began = time.monotonic()
        asleep, busy = sandbox.exec(["sleep", "30"], timeout_s=0.3), sandbox.python("while 1: pass", timeout_s=0.3)
        for result in (asleep, busy):
            require(result.status == "timeout" and result.exit_code is None, f"seen: {result}")
        require(time.monotonic() - began < 10, "time-outs of 0.3 s took over 10 s")
        require(sandbox.get("kept") == b"x" and sandbox.exec("true").ok, "the sandbox cannot be used after a time-out")


def output_before_a_time_out_is_kept(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec("echo before; sleep 30", timeout_s=0.5)
        require((result.status, _text(result)) == ("timeout", "before\n"), f"seen: {result}")


def cpu_time_is_limited(provider: SandboxProvider) -> str | None:
    with _make(provider) as sandbox:
        _promises_limits(sandbox)
        result = sandbox.python("while 1: pass")
        require(result.status in ("timeout", "signalled"), f"seen: {result}")
        return f"{result.status} after {result.usage.wall_s:.1f} s"


def memory_is_limited(provider: SandboxProvider) -> str | None:
    with _make(provider) as sandbox:
        _promises_limits(sandbox)
        result = sandbox.python("x = []\nwhile 1: x.append(b'x' * 2**20)")
        require(result.status == "out_of_memory", f"seen: {result}")
        require(sandbox.python("print(1)").ok, "the sandbox cannot be used after it ran out of memory")
        return None


def processes_are_limited(provider: SandboxProvider) -> str | None:
    with _make(provider) as sandbox:
        _promises_limits(sandbox)
        result = sandbox.python("import os, time\nfor _ in range(60):\n  if os.fork() == 0: time.sleep(2); os._exit(0)")
        require(result.status == "too_many_processes", f"seen: {result}")
        require(sandbox.python("print(1)").ok, "the sandbox cannot be used after a fork bomb")
        return f"{result.processes_killed} killed"


def what_is_left_over_is_killed_and_counted(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        _promises_limits(sandbox)
        result = sandbox.exec("for i in 1 2 3; do setsid sleep 60 & done; exit 0")
        require(result.ok and result.processes_killed == 3, f"3 processes were left, seen: {result}")


def output_keeps_head_and_tail(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        stream = sandbox.python("print('begin', 'x' * 10**6, 'end', sep='')").stdout
        kept = len(stream.head) + len(stream.tail)
        require(stream.total == 10**6 + 9, f"{stream.total} bytes counted, 1000009 written")
        require(kept <= SMALL.output_kib * 1024 and stream.missing == stream.total - kept, f"{kept} bytes kept")
        require(stream.head.startswith(b"begin") and stream.tail.endswith(b"end\n"), "head or tail is wrong")


def a_flood_is_cut(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done | cat")
        require(result.status == "output_cut", f"seen: {result}")
        require(sandbox.exec("true").ok, "the sandbox cannot be used after a flood")


def output_can_be_had_as_it_comes(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        pieces: list[tuple[str, bytes, float]] = []
        code = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.2)"
        result = sandbox.python(code, on_output=lambda name, data: pieces.append((name, data, time.monotonic())))
        require(result.ok and b"".join(data for _, data, _ in pieces) == b"0\n1\n2\n", f"pieces: {pieces}")
        require(pieces[-1][2] - pieces[0][2] > 0.2, "all pieces came at once")


def an_error_in_the_listener_ends_the_run(provider: SandboxProvider) -> None:
    def listener(name: str, data: bytes) -> None:
        raise KeyError("stop")

    with _make(provider) as sandbox:
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
    with _make(provider) as sandbox:
        first = "import sys, random; sys.modules['kept'] = 1; random.seed(1); open('file', 'w').write('x')"
        require(sandbox.python(first).ok, "the first run failed")
        result = sandbox.python("import sys, os; print('kept' in sys.modules, os.path.exists('file'))")
        require(_text(result) == "False True\n", f"seen: {_text(result)!r}")
        numbers = {_text(sandbox.python("import random; print(random.random())")) for _ in range(3)}
        require(len(numbers) == 3, "runs draw the same random numbers")


def python_ends_like_an_interpreter(provider: SandboxProvider) -> None:
    cases = {"1/0": 1, "import sys; sys.exit(5)": 5, "raise SystemExit": 0, "import sys; sys.exit('words')": 1, "(": 1}
    with _make(provider) as sandbox:
        for code, expected in cases.items():
            result = sandbox.python(code)
            require((result.status, result.exit_code) == ("exited", expected), f"{code!r} gave {result}")
        require("ZeroDivisionError" in sandbox.python("1/0").stderr.text, "no traceback of an exception")
        result = sandbox.python("import atexit; atexit.register(print, 'last'); print('first')")
        require(_text(result) == "first\nlast\n", f"exit functions: {_text(result)!r}")


def many_threads_can_use_one_sandbox(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        seen: list[str] = []

        def work(number: int) -> None:
            for round_ in range(3):
                seen.append(_text(sandbox.python(f"print({number}, {round_})")).strip())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = sorted(f"{number} {round_}" for number in range(4) for round_ in range(3))
        require(sorted(seen) == expected, f"seen: {sorted(seen)}")


def sandboxes_do_not_share_files(provider: SandboxProvider) -> None:
    with _make(provider) as one, _make(provider) as two:
        one.put("file", b"one")
        two.put("file", b"two")
        require((one.get("file"), two.get("file")) == (b"one", b"two"), "one sandbox has the other's file")


def reset_gives_a_new_place(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        sandbox.exec("mkdir -p a/b; echo x > a/b/c; ln -s a l; chmod 0 a; echo y > .hidden")
        sandbox.reset()
        require(_text(sandbox.exec("ls -A")) == "", "files are left after a reset")
        require(sandbox.exec("echo z > file").ok, "nothing can be written after a reset")


def closing_is_safe_twice_and_final(provider: SandboxProvider) -> None:
    sandbox = _make(provider)
    sandbox.close()
    sandbox.close()
    try:
        sandbox.exec("true")
    except SandboxFault:
        return
    raise CheckFailed("a closed sandbox still runs programs")


def closing_ends_what_runs(provider: SandboxProvider) -> None:
    sandbox = _make(provider)
    found: list[object] = []

    def work() -> None:
        try:
            found.append(sandbox.exec(["sleep", "60"]))
        except SandboxFault as fault:
            found.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    sandbox.close()
    thread.join(10)
    require(found, "a run goes on after its sandbox was closed")
    ended = isinstance(found[0], SandboxFault) or getattr(found[0], "status", "") in ("killed", "signalled")
    require(ended, f"the run came back as {found[0]}")


def its_time_to_live_ends_it(provider: SandboxProvider) -> None:
    with _make(provider, ttl_s=0.5) as sandbox:
        _promises_limits(sandbox)
        time.sleep(1.0)
        try:
            sandbox.exec("true")
        except SandboxFault:
            return
        raise CheckFailed("it still runs programs after its time to live")


def asking_for_too_much_is_refused(provider: SandboxProvider) -> None:
    wishes = {
        "profile": SandboxSpec(profile="no-such-profile"),
        "image": SandboxSpec(image="no-such-image:1"),
        "root": SandboxSpec(root="/no/such/folder"),
    }
    for wish, spec in wishes.items():
        try:
            provider.create(spec).close()
        except (ConfigError, SandboxFault):
            continue
        raise CheckFailed(f"a {wish} that does not exist was taken")


def the_grade_is_json_and_complete(provider: SandboxProvider) -> str | None:
    with _make(provider) as sandbox:
        grade = json.loads(json.dumps(sandbox.grade()))
        missing = {"sandbox", "level", "namespaces", "uid", "seccomp", "limits", "network"} - set(grade)
        require(not missing, f"the grade says nothing of {', '.join(sorted(missing))}")
        return str(grade["level"])


def what_a_run_was_can_be_kept(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        result = sandbox.exec("echo out; echo err >&2; exit 3")
        require(ExecResult.from_data(json.loads(json.dumps(result.to_data()))) == result, "it changed on the way")


def files_go_in_and_come_out(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        files = {"a.txt": b"text\n", "b/c/d.bin": bytes(range(256)) * 100, "empty": b"", "ü ∑/x y": b"name"}
        sandbox.put_tree(files)
        require(dict(sandbox.get_tree(".").files) == files, "what came out is not what went in")
        sandbox.put("a.txt", b"new")
        require(_text(sandbox.exec(["cat", "a.txt"])) == "new", "a file was not replaced")
        sandbox.put_tree({"run.sh": b"#!/bin/sh\necho ran\n"}, executable=["run.sh"])
        require(_text(sandbox.exec(["./run.sh"])) == "ran\n", "an executable file is not executable")


def files_that_are_not_there_are_data(provider: SandboxProvider) -> None:
    with _make(provider) as sandbox:
        sandbox.exec("ln -s nowhere link; mkfifo pipe; mkdir folder")
        tree = sandbox.get_tree("missing", "link", "pipe")
        require(not tree.files and set(tree.refused) == {"missing", "link", "pipe"}, f"seen: {tree}")
        for path in ("missing", "link", "pipe", "folder"):
            try:
                sandbox.get(path)
            except DataError:
                continue
            raise CheckFailed(f"reading {path!r} is no DataError")


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        output_and_exit_code_come_back,
        an_argument_is_one_argument,
        standard_input_arrives_whole,
        a_signal_is_not_an_exit_code,
        a_program_that_is_not_there_is_data,
        surroundings_are_what_was_asked_for,
        a_time_out_ends_the_run_and_nothing_else,
        output_before_a_time_out_is_kept,
        cpu_time_is_limited,
        memory_is_limited,
        processes_are_limited,
        what_is_left_over_is_killed_and_counted,
        output_keeps_head_and_tail,
        a_flood_is_cut,
        output_can_be_had_as_it_comes,
        an_error_in_the_listener_ends_the_run,
        runs_of_python_share_nothing_but_files,
        python_ends_like_an_interpreter,
        many_threads_can_use_one_sandbox,
        sandboxes_do_not_share_files,
        reset_gives_a_new_place,
        closing_is_safe_twice_and_final,
        closing_ends_what_runs,
        its_time_to_live_ends_it,
        asking_for_too_much_is_refused,
        the_grade_is_json_and_complete,
        what_a_run_was_can_be_kept,
        files_go_in_and_come_out,
        files_that_are_not_there_are_data,
    )
}

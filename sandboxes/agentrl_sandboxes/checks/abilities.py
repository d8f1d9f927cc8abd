"""Checks of what only some sandboxes can do: sessions, snapshots, forks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from agentrl import (
    CheckFailed,
    CheckSkipped,
    ConfigError,
    Sandbox,
    SandboxProvider,
    SandboxSpec,
    require,
)
from agentrl_sandboxes.checks.common import LARGER, sandbox_with, text_of


def what_is_not_declared_is_refused(provider: SandboxProvider) -> None:
    tries: dict[str, Callable[[Sandbox], object]] = {
        "python_session": lambda sandbox: sandbox.session("python"),
        "shell_session": lambda sandbox: sandbox.session("shell"),
        "snapshot": lambda sandbox: sandbox.snapshot(),
        "fork": lambda sandbox: sandbox.fork(),
    }
    with provider.create(SandboxSpec(limits=LARGER)) as sandbox:
        for ability in set(tries) - sandbox.abilities:
            try:
                tries[ability](sandbox)
            except ConfigError:
                continue
            raise CheckFailed(f"{ability!r} is not declared, and asking for it is no ConfigError")


def variables_of_a_python_session_survive(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "python_session") as sandbox, sandbox.session("python") as session:
        require(session.run("x = 20\ndef double(n): return 2 * n").ok, "a definition failed")
        require(text_of(session.run("print(double(x))\nx + 2")) == "40\n22\n", "variables are lost")
        failed = session.run("x = 21\n1/0")
        require(failed.exit_code == 1 and "ZeroDivisionError" in failed.stderr.text, f"an exception gave {failed}")
        require(text_of(session.run("x")) == "21\n", "variables are lost after an exception")
        require(session.run("import sys; sys.exit(4)").exit_code == 4, "sys.exit(4) is not exit code 4")


def variables_of_a_shell_session_survive(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "shell_session") as sandbox, sandbox.session("shell") as session:
        session.run("mkdir -p a/b; cd a/b; export E=exported; V='two words'; f() { echo \"f $1\"; }")
        require(text_of(session.run('pwd; echo "$E $V"; f x')).endswith("/a/b\nexported two words\nf x\n"), "lost")
        result = session.run("(exit 3)")
        require((result.status, result.exit_code) == ("exited", 3), f"seen: {result}")
        result = session.run("if true; then")
        require(result.exit_code != 0, "a syntax error is a success")
        require(text_of(session.run("cat; echo done")) == "done\n", "a call can read the next call")


def jobs_of_a_shell_session_go_on(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "shell_session") as sandbox, sandbox.session("shell") as session:
        session.run("(sleep 0.3; echo late > late) &")
        time.sleep(0.6)
        require(text_of(session.run("cat late")) == "late\n", "a job was ended with the call that began it")


def a_session_outlives_a_time_out_or_says_so(provider: SandboxProvider) -> str | None:
    with sandbox_with(provider, "python_session") as sandbox, sandbox.session("python") as session:
        session.run("x = 1")
        late = session.run("import time; time.sleep(30)", timeout_s=0.3)
        require(late.status == "timeout", f"seen: {late}")
        after = session.run("print(x)")
        require(after.ok or "new" in late.reason + after.reason, f"variables are lost without a word: {late}, {after}")
        deaf = session.run("import signal; signal.signal(2, signal.SIG_IGN)\nwhile 1: pass", timeout_s=0.3)
        require(deaf.status == "timeout", f"seen: {deaf}")
        last = session.run("print('alive')")
        require(last.ok and text_of(last) == "alive\n", f"the session cannot be used any more: {last}")
        require("new" in deaf.reason, f"variables are lost without a word: {deaf.reason!r}")
        return "kept its variables" if after.ok else "started anew"


def a_shell_session_outlives_a_time_out_or_says_so(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "shell_session") as sandbox, sandbox.session("shell") as session:
        session.run("x=1")
        late = session.run("sleep 30", timeout_s=0.3)
        after = session.run("echo $x")
        require(late.status == "timeout", f"seen: {late}")
        require(text_of(after) == "1\n" or "new" in late.reason, f"lost without a word: {late}, {after}")
        busy = session.run("while :; do :; done", timeout_s=0.3)
        require(busy.status == "timeout" and session.run("true").ok, "the session cannot be used any more")


def a_session_that_ends_says_so(provider: SandboxProvider) -> None:
    endings: list[tuple[Literal["python", "shell"], str]] = [("python", "import os; os._exit(5)"), ("shell", "exit 5")]
    for kind, code in endings:
        with sandbox_with(provider, f"{kind}_session") as sandbox, sandbox.session(kind) as session:
            result = session.run(code)
            require(result.exit_code == 5 and "new" in result.reason, f"{kind}: {result}")
            require(session.run("print(1)" if kind == "python" else "true").ok, f"{kind}: no new session")


def sessions_do_not_disturb_each_other(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "python_session") as sandbox, sandbox.session("python") as one:
        two = sandbox.session("python")
        one.run("x = 1")
        two.run("x = 2")
        require(sandbox.exec("exit 0").ok and sandbox.python("print(1)").ok, "no run beside a session")
        require(text_of(one.run("x")) + text_of(two.run("x")) == "1\n2\n", "sessions share variables")
        two.close()
        require(text_of(one.run("x")) == "1\n", "closing one session ends the other")


def a_snapshot_brings_files_back(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "snapshot") as sandbox:
        sandbox.exec("mkdir d; echo old > d/f; echo x > gone; ln -s d/f link; echo tmp > /tmp/t; chmod 750 d")
        first = sandbox.snapshot()
        sandbox.exec("echo new > d/f; rm gone; rm -r link; echo y > more; rm /tmp/t; mkdir gone; echo z > gone/z")
        second = sandbox.snapshot()
        for _ in range(2):
            sandbox.restore(first)
            seen = text_of(sandbox.exec("cat d/f gone link /tmp/t; ls; stat -c %a d"))
            require(seen == "old\nx\nold\ntmp\nd\ngone\nlink\n750\n", f"after the first restore: {seen!r}")
            sandbox.restore(second)
            seen = text_of(sandbox.exec("cat d/f more gone/z; ls; ls /tmp"))
            require(seen == "new\ny\nz\nd\ngone\nmore\n", f"after the second restore: {seen!r}")


def many_snapshots_can_be_taken(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "snapshot") as sandbox:
        snapshots = []
        for number in range(60):
            sandbox.put("number", str(number).encode())
            snapshots.append(sandbox.snapshot())
        for number in (0, 30, 59, 12):
            sandbox.restore(snapshots[number])
            require(sandbox.get("number") == str(number).encode(), f"snapshot {number} has {sandbox.get('number')!r}")


def a_snapshot_can_be_taken_beside_a_session(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "snapshot") as sandbox:
        if "python_session" not in sandbox.abilities:
            raise CheckSkipped("it has no sessions")
        with sandbox.session("python") as session:
            session.run("x = 5; open('f', 'w').write('before')")
            snapshot = sandbox.snapshot()
            session.run("open('f', 'w').write('after')")
            require(text_of(session.run("x")) == "5\n", "the snapshot ended the session")
            require(sandbox.get("f") == b"after", "the session writes elsewhere now")
            sandbox.restore(snapshot)
            require(sandbox.get("f") == b"before", "the snapshot has what was written after it")
            result = session.run("print('x' in globals())")
            require(text_of(result) == "False\n", "a session goes on after a restore")


def a_fork_has_the_files_and_goes_its_own_way(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "fork") as parent:
        parent.exec("mkdir d; echo same > d/f")
        with parent.fork() as child:
            child.exec("echo child > d/f; echo c > only-child")
            parent.exec("echo parent > d/f")
            require((parent.get("d/f"), child.get("d/f")) == (b"parent\n", b"child\n"), "they share files")
            with child.fork() as grandchild:
                require(
                    set(grandchild.get_tree(".").files) == {"d/f", "only-child"}, "a fork of a fork has other files"
                )
            child.reset()
            require(child.get("d/f") == b"same\n", "a reset fork is not as it was forked")
        orphan = parent.fork()
    with orphan:
        require(orphan.get("d/f") == b"parent\n", "a fork does not outlive its parent")


def forks_can_be_made_at_once(provider: SandboxProvider) -> None:
    with sandbox_with(provider, "fork") as parent:
        parent.put("f", b"x")
        children: list[Sandbox] = []
        threads = [threading.Thread(target=lambda: children.append(parent.fork())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        require([child.get("f") for child in children] == [b"x"] * 4, "a fork made beside others lacks files")
        for child in children:
            child.close()


CHECKS = {
    check.__name__: check
    for check in (
        what_is_not_declared_is_refused,
        variables_of_a_python_session_survive,
        variables_of_a_shell_session_survive,
        jobs_of_a_shell_session_go_on,
        a_session_outlives_a_time_out_or_says_so,
        a_shell_session_outlives_a_time_out_or_says_so,
        a_session_that_ends_says_so,
        sessions_do_not_disturb_each_other,
        a_snapshot_brings_files_back,
        many_snapshots_can_be_taken,
        a_snapshot_can_be_taken_beside_a_session,
        a_fork_has_the_files_and_goes_its_own_way,
        forks_can_be_made_at_once,
    )
}

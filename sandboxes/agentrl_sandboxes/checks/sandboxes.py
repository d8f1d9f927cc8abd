"""Sandboxes: files in and out, from creation to reset and close, and what one says of itself."""

from __future__ import annotations

import json
import threading
import time

from agentrl import CheckFailed, ConfigError, DataError, SandboxFault, SandboxProvider, SandboxSpec, require
from agentrl_sandboxes.checks.common import Check, need_limits, small_sandbox, text_of


def files_go_in_and_come_out(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        files = {"a.txt": b"text\n", "b/c/d.bin": bytes(range(256)) * 100, "empty": b"", "ü ∑/x y": b"name"}
        sandbox.put_tree(files)
        require(dict(sandbox.get_tree(".").files) == files, "what came out is not what went in")
        sandbox.put("a.txt", b"new")
        require(text_of(sandbox.exec(["cat", "a.txt"])) == "new", "a file was not replaced")
        sandbox.put_tree({"run.sh": b"#!/bin/sh\necho ran\n"}, executable=["run.sh"])
        require(text_of(sandbox.exec(["./run.sh"])) == "ran\n", "an executable file is not executable")


def files_that_are_not_there_are_data(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.exec("ln -s nowhere link; mkfifo pipe; mkdir folder")
        tree = sandbox.get_tree("missing", "link", "pipe")
        require(not tree.files and set(tree.refused) == {"missing", "link", "pipe"}, f"seen: {tree}")
        for path in ("missing", "link", "pipe", "folder"):
            try:
                sandbox.get(path)
            except DataError:
                continue
            raise CheckFailed(f"reading {path!r} is no DataError")


def sandboxes_do_not_share_files(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as one, small_sandbox(provider) as two:
        one.put("file", b"one")
        two.put("file", b"two")
        require((one.get("file"), two.get("file")) == (b"one", b"two"), "one sandbox has the other's file")


def reset_gives_a_new_place(provider: SandboxProvider) -> None:
    with small_sandbox(provider) as sandbox:
        sandbox.exec("mkdir -p a/b; echo x > a/b/c; ln -s a l; chmod 0 a; echo y > .hidden")
        sandbox.reset()
        require(text_of(sandbox.exec("ls -A")) == "", "files are left after a reset")
        require(sandbox.exec("echo z > file").ok, "nothing can be written after a reset")


def closing_is_safe_twice_and_final(provider: SandboxProvider) -> None:
    sandbox = small_sandbox(provider)
    sandbox.close()
    sandbox.close()
    try:
        sandbox.exec("true")
    except SandboxFault:
        return
    raise CheckFailed("a closed sandbox still runs programs")


def closing_ends_what_runs(provider: SandboxProvider) -> None:
    sandbox = small_sandbox(provider)
    endings: list[object] = []

    def work() -> None:
        try:
            endings.append(sandbox.exec(["sleep", "60"]))
        except SandboxFault as fault:
            endings.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    sandbox.close()
    thread.join(10)
    require(endings, "a run goes on after its sandbox was closed")
    ended = isinstance(endings[0], SandboxFault) or getattr(endings[0], "status", "") in ("killed", "signalled")
    require(ended, f"the run came back as {endings[0]}")


def its_time_to_live_ends_it(provider: SandboxProvider) -> None:
    with small_sandbox(provider, ttl_s=0.5) as sandbox:
        need_limits(sandbox)
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
    with small_sandbox(provider) as sandbox:
        grade = json.loads(json.dumps(sandbox.grade()))
        missing = {"sandbox", "level", "namespaces", "uid", "seccomp", "limits", "network"} - set(grade)
        require(not missing, f"the grade says nothing of {', '.join(sorted(missing))}")
        return str(grade["level"])


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        files_go_in_and_come_out,
        files_that_are_not_there_are_data,
        sandboxes_do_not_share_files,
        reset_gives_a_new_place,
        closing_is_safe_twice_and_final,
        closing_ends_what_runs,
        its_time_to_live_ends_it,
        asking_for_too_much_is_refused,
        the_grade_is_json_and_complete,
    )
}

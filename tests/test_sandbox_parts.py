"""The parts that sandboxes are made of."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path

import pytest
from sandbox_support import needs_bubblewrap, needs_root, provider

from agentrl import ConfigError, SandboxSpec
from agentrl.sandbox import SandboxLimits
from agentrl_sandboxes.bubblewrap import preflight
from agentrl_sandboxes.bubblewrap.manager import find_python
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
from agentrl_sandboxes.inside import files, frames, seccomp, trees
from agentrl_sandboxes.inside.capture import Capture
from agentrl_sandboxes.supervised.taken import read_tree

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
X86, ARM = 0xC000003E, 0xC00000B7


def judged(program: bytes, number: int, *arguments: int, arch: int = X86) -> int:
    """What a filter says of a system call: a little interpreter of the BPF that filters are made of."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *[a & (2**64 - 1) for a in (*arguments, *[0] * 6)][:6])
    accumulator, at = 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return value
        elif code == 0x05:
            at += value
        else:
            tests = {0x15: accumulator == value, 0x35: accumulator >= value, 0x25: accumulator > value}
            tests[0x45] = bool(accumulator & value)
            at += yes if tests[code] else no


@pytest.mark.parametrize(
    ("name", "number", "arguments", "verdict"),
    [
        ("read", 0, (), ALLOW),
        ("execve", 59, (), ALLOW),
        ("faccessat2", 439, (), ALLOW),
        ("clone for a thread", 56, (0x3D0F00,), ALLOW),
        ("clone with a user namespace", 56, (0x10000011,), ERRNO | 1),
        ("clone with a network namespace", 56, (0x40000011,), ERRNO | 1),
        ("clone3, which hides its flags", 435, (), ERRNO | 38),
        ("unshare", 272, (0,), ERRNO | 1),
        ("mount", 165, (), ERRNO | 1),
        ("ptrace", 101, (), ERRNO | 1),
        ("bpf", 321, (), ERRNO | 1),
        ("io_uring_setup", 425, (), ERRNO | 38),
        ("io_uring_enter", 426, (), ERRNO | 1),
        ("keyctl", 250, (), ERRNO | 1),
        ("process_vm_writev", 311, (), ERRNO | 1),
        ("open_by_handle_at", 304, (), ERRNO | 1),
        ("a unix socket", 41, (1,), ALLOW),
        ("an internet socket", 41, (2,), ALLOW),
        ("a vsock socket", 41, (40,), ERRNO | 97),
        ("a netlink socket", 41, (16,), ERRNO | 97),
        ("a packet socket", 41, (17,), ERRNO | 97),
        ("an alg socket", 41, (38,), ERRNO | 97),
        ("a socket pair", 53, (1,), ALLOW),
        ("one's own limits", 302, (0,), ALLOW),
        ("another's limits", 302, (1,), ERRNO | 1),
        ("typing into a terminal", 16, (0, 0x5412), ERRNO | 1),
        ("asking for a terminal's size", 16, (0, 0x5413), ALLOW),
        ("setting a filter of one's own", 157, (22,), ERRNO | 1),
        ("naming a thread", 157, (15,), ALLOW),
        ("nice for oneself", 141, (0, 0), ALLOW),
        ("nice for the supervisor", 141, (0, 1), ERRNO | 1),
        ("sync", 162, (), ERRNO),
        ("a call of the x32 world", 0x40000000, (), ERRNO | 1),
        ("a call newer than this list", 9999, (), ERRNO | 38),
        ("flock", 73, (), ALLOW),
    ],
)
def test_the_filter_allows_what_programs_need_and_nothing_else(
    name: str, number: int, arguments: tuple[int, ...], verdict: int
) -> None:
    assert judged(seccomp.compile_filter(machine="x86_64"), number, *arguments) == verdict, name


@pytest.mark.parametrize(
    ("name", "number", "arguments", "verdict"),
    [
        ("read", 63, (), ALLOW),
        ("openat", 56, (), ALLOW),
        ("clone with a user namespace", 220, (0x10000011,), ERRNO | 1),
        ("clone", 220, (17,), ALLOW),
        ("mount", 40, (), ERRNO | 1),
        ("ptrace", 117, (), ERRNO | 1),
        ("vsock", 198, (40,), ERRNO | 97),
        ("unshare", 97, (), ERRNO | 1),
    ],
)
def test_the_filter_for_arm_says_the_same(name: str, number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert judged(seccomp.compile_filter(machine="aarch64"), number, *arguments, arch=ARM) == verdict, name


def test_the_strict_filter_has_no_sockets_but_pairs() -> None:
    program = seccomp.compile_filter("strict", machine="x86_64")
    assert [judged(program, 41, family) for family in (1, 2, 10)] == [ERRNO | 97] * 3
    assert judged(program, 53, 1) == ALLOW


def test_a_call_of_another_architecture_ends_the_program() -> None:
    assert judged(seccomp.compile_filter(machine="x86_64"), 1, arch=0x40000003) == KILL


@pytest.mark.parametrize("settings", [{"shared_inodes": True}, {"profile": "strict"}])
def test_no_locks_are_allowed_where_inodes_are_shared_or_the_profile_is_strict(settings: dict[str, object]) -> None:
    program = seccomp.compile_filter(machine="x86_64", **settings)
    assert judged(program, 73) == ERRNO | 1
    assert {judged(program, 72, 3, kind) for kind in (5, 6, 7, 36, 37, 38)} == {ERRNO | 1}
    assert judged(program, 72, 3, 2) == ALLOW


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 100_000])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_capture_keeps_head_and_tail_however_the_pieces_come(length: int, piece: int) -> None:
    data = os.urandom(length)
    capture = Capture(6, 4)
    for start in range(0, length, piece):
        capture.add(data[start : start + piece])
    head, tail = (bytes(part) for part in capture.parts())
    assert capture.total == length
    assert head + tail == data if length <= 10 else (head, tail) == (data[:6], data[-4:])
    capture.wipe()
    assert not any(bytes(part).strip(b"\0") for part in capture.parts())


@pytest.mark.parametrize(
    "sent",
    [b"\xff" * 8, struct.pack(">II", 3, 0) + b"[1]", struct.pack(">II", 4, 0) + b"oops", struct.pack(">II", 2, 0)],
)
def test_a_hostile_frame_is_an_error_or_an_end_and_never_a_message(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.close()
        with contextlib.suppress(ValueError):
            assert frames.receive(ours, max_payload=100) is None


def test_files_are_put_beside_links_and_not_through_them(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/target").write_text("old")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("../outside/target")
    (tmp_path / "in/folder").symlink_to("../outside")
    os.link(tmp_path / "outside/target", tmp_path / "in/hard")
    entries = [["link", 3, 0o644], ["folder/new", 3, 0o644], ["hard", 3, 0o6755], ["../up", 3, 0o644]]
    refused = files.put(files.Places(str(tmp_path / "in")), entries, b"new" * 4)
    assert set(refused) == {"folder/new", "../up"}
    assert (tmp_path / "outside/target").read_text() == "old"
    assert (tmp_path / "in/hard").stat().st_mode & 0o7777 == 0o755
    assert not (tmp_path / "in/link").is_symlink()


FORGED = [
    ("../x", b"1"), ("/etc/x", b"1"), ("a/../../x", b"1"), ("other", b"1"), ("a//b", b"1"), ("a\0b", b"1"),
]  # fmt: skip


def test_names_and_sizes_that_come_out_of_a_sandbox_are_checked_outside() -> None:
    honest = {"a/b": b"22", "a/c/d": b""}
    parts = [({"files": [[path, len(data)] for path, data in [*honest.items(), *FORGED]]}, b"22" + b"1" * len(FORGED))]
    tree = read_tree([*parts, ({"end": True}, b"")], ["a"], 100, 100)
    assert dict(tree.files) == honest
    assert set(tree.refused) == {path for path, _ in FORGED}
    assert dict(read_tree([*parts, ({"end": True}, b"")], ["a"], 100, 1).files) == {"a/b": b"22"}
    assert dict(read_tree([*parts, ({"end": True}, b"")], ["a"], 1, 100).files) == {"a/c/d": b""}


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [({"files": [["a", 3]]}, b"12"), ({"end": True}, b"")],
        [({"files": [["a", -1], ["b", 3]]}, b"12"), ({"end": True}, b"")],
        [({"files": [[7, 2]]}, b"12"), ({"end": True}, b"")],
        [({"files": "a"}, b""), ({"end": True}, b"")],
        [({"refused": ["a"]}, b""), ({"end": True}, b"")],
        [({"files": [["a", 2]]}, b"12")],
    ],
)
def test_an_answer_of_a_sandbox_that_is_none_is_refused(parts: list[tuple[dict[str, object], bytes]]) -> None:
    with pytest.raises(ValueError, match=r"index|missing|paths"):
        read_tree(parts, ["."], 100, 100)


def test_folders_are_emptied_however_deep_they_go_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    at = os.open(inside, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=at)
        at, last = os.open("d", os.O_RDONLY, dir_fd=at), at
        os.close(last)
    os.close(at)
    trees.empty(str(inside))
    assert os.listdir(inside) == []
    assert (tmp_path / "outside").read_text() == "kept"


def test_the_doctor_names_the_program_that_is_missing() -> None:
    assert "apt-get install bubblewrap" in preflight.obstacle("no-such-bwrap")


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0", "container"),
    ],
)
def test_the_doctor_reads_the_kernels_settings(setting: str, value: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / setting).parent.mkdir()
    (tmp_path / setting).write_text(f"{value}\n")
    assert advice in preflight.explain(str(tmp_path))


def test_a_bwrap_that_fails_is_an_obstacle_with_its_own_words(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o755)
    fake.chmod(0o755)
    said = preflight.obstacle(str(fake))
    assert "No permissions to create new namespace" in said
    with pytest.raises(ConfigError, match="does not work on this machine"):
        Bubblewrap(bwrap=str(fake)).create()


def test_a_python_that_does_not_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="setting `python`"):
        find_python("/no/such/python")


@needs_bubblewrap
def test_no_run_finds_what_an_earlier_run_was_given_or_said() -> None:
    search = """
word = bytes(b ^ 1 for b in {hidden!r})
found = 0
for line in open("/proc/self/maps"):
    area, rights = line.split()[:2]
    start, end = (int(x, 16) for x in area.split("-"))
    if rights.startswith("rw") and end - start < 2**26:
        with open("/proc/self/mem", "rb", 0) as memory:
            memory.seek(start)
            try:
                found += memory.read(end - start).count(word)
            except OSError:
                pass
print(found)
"""
    secret = os.urandom(12).hex().encode()
    code = search.format(hidden=bytes(b ^ 1 for b in secret))
    with provider().create() as sandbox:
        assert int(sandbox.python(f"x = {secret!r}\n" + code).stdout.text) > 1, "the search finds nothing"
        sandbox.python(f"# {secret.decode()}", stdin=secret * 100, env={"WORD": secret.decode()})
        sandbox.exec(["echo", secret.decode() * 50])
        sandbox.put("file", secret * 100)
        assert sandbox.get("file") == secret * 100
        assert sandbox.exec(["cat"], stdin=secret * 5000).stdout.total == 24 * 5000
        for _ in range(3):
            assert sandbox.python(code).stdout.text == "1\n", "more than the word that is searched for"


@needs_bubblewrap
def test_more_input_than_a_program_reads_does_no_harm() -> None:
    with provider().create() as sandbox:
        for _ in range(3):
            assert sandbox.exec(["head", "-c", "3"], stdin=b"x" * 10**6).stdout.text == "xxx"
            sandbox.python("", stdin=b"x" * 100_000)  # fits into buffers on the way, but not into the program's pipe
        assert sandbox.exec(["cat"], stdin=b"y" * 10**6).stdout.total == 10**6


@needs_bubblewrap
def test_input_and_a_listener_at_once_do_not_block_each_other() -> None:
    with provider().create() as sandbox:
        pieces: list[bytes] = []
        data = os.urandom(4 * 2**20)
        result = sandbox.exec(["cat"], stdin=data, on_output=lambda name, piece: pieces.append(bytes(piece)))
        assert result.ok
        assert b"".join(pieces) == data


@needs_bubblewrap
@needs_root
def test_the_host_uid_of_a_program_is_its_own_and_not_root() -> None:
    with provider().create() as one, provider().create() as two:
        uids = [sandbox.host_identity()["uid"] for sandbox in (one, two)]
        assert len({0, *uids}) == 3
        with one.fork() as child:
            assert child.host_identity()["uid"] == uids[0], "a fork owns the files it was given"


@needs_bubblewrap
@pytest.mark.parametrize("cgroups", [True, False])
def test_processes_of_one_sandbox_do_not_count_for_another(cgroups: bool) -> None:
    fill = "import os, time\nfor _ in range({}):\n  if os.fork() == 0: time.sleep(3); os._exit(0)\nprint('all')\ntime.sleep({})"
    spec = SandboxSpec(limits=SandboxLimits(pids=40))
    with Bubblewrap(cgroups=cgroups) as made, made.create(spec) as one, made.create(spec) as two:
        thread = threading.Thread(target=lambda: one.python(fill.format(30, 1.0)))
        thread.start()
        assert two.python(fill.format(30, 0.2)).stdout.text == "all\n"
        thread.join()


@needs_bubblewrap
def test_a_sandbox_leaves_the_environment_of_this_process_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with Bubblewrap() as made, made.create() as sandbox:
        assert "hunter2" not in sandbox.exec("env; cat /proc/*/environ").stdout.text
        assert "hunter2" not in sandbox.python("import os; print(dict(os.environ))").stdout.text

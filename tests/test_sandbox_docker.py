"""Docker: the shipped kit on real containers, and what happens when the machinery fails. `make test-docker` runs all."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import docker_obstacle, worker_env

from agentrl import ConfigError, SandboxFault, SandboxLimits, SandboxSpec
from agentrl_sandboxes.checks.attempts import Attempt, Target
from agentrl_sandboxes.checks.canaries import Canaries
from agentrl_sandboxes.checks.kit import ATTEMPTS, CHECKS, reason_stated
from agentrl_sandboxes.docker import container as docker_container
from agentrl_sandboxes.docker import default_image as docker_image
from agentrl_sandboxes.docker import ownership
from agentrl_sandboxes.docker import seccomp_profile as docker_seccomp
from agentrl_sandboxes.docker.daemon import CircuitBreaker, Daemon
from agentrl_sandboxes.docker.provider import Docker
from agentrl_sandboxes.docker.stream import Stream
from agentrl_sandboxes.inside import mux, seccomp

needs_docker = pytest.mark.skipif(bool(docker_obstacle()), reason=f"no Docker here: {docker_obstacle()}")
QUICK = {
    "output_and_exit_code_come_back", "standard_input_arrives_whole", "memory_is_limited", "processes_are_limited",
    "what_is_left_over_is_killed_and_counted", "output_can_be_had_as_it_comes", "sessions_do_not_disturb_each_other",
    "a_snapshot_brings_files_back", "reset_gives_a_new_place", "files_go_in_and_come_out",
}  # fmt: skip


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with Docker() as made:
        yield made


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    import docker as library

    client = library.from_env()
    yield client.api
    client.close()


def ours(api: Any, label: str) -> list[str]:
    """Containers with a label that this process has made and that are still there."""
    labels = [f"{ownership.OWNER}={ownership.owner()}", label]
    return [found["Id"] for found in api.containers(all=True, filters={"label": labels})]


def until(condition: Any, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@needs_docker
@pytest.mark.parametrize(
    "check", [name if name in QUICK else pytest.param(name, marks=pytest.mark.heavy) for name in CHECKS]
)
def test_docker_keeps_the_contract(check: str, docker: Docker) -> None:
    CHECKS[check](docker)


@pytest.fixture(scope="module")
def canaries() -> Iterator[Canaries]:
    with Canaries() as made:
        yield made


@needs_docker
@pytest.mark.heavy
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: f"{attempt.kind}: {attempt.name}")
def test_docker_holds(attempt: Attempt, canaries: Canaries, docker: Docker) -> None:
    target = Target(docker, canaries)
    try:
        assert not attempt.run(target) or reason_stated(attempt, target), "it got out"
    finally:
        target.clear()


@needs_docker
def test_the_grade_says_what_was_measured_inside(docker: Docker) -> None:
    with docker.create() as sandbox, docker.create(SandboxSpec(profile="strict")) as strict:
        grade = sandbox.grade()
        assert "Address family not supported" in strict.python("import socket; socket.socket()").stderr.text
        assert strict.grade()["seccomp"] != grade["seccomp"]
    assert (grade["level"], grade["network"], grade["system"]) == ("container", "none", "read-only")
    assert grade["no_new_privileges"] is True
    assert int(grade["capabilities"], 16) == 0
    assert grade["uid"]["host"] > 2_000_000_000
    assert grade["seccomp"] == seccomp.fingerprint(seccomp.compile_filter())


@needs_docker
def test_the_outer_filter_of_docker_holds_without_the_inner_one(docker: Docker) -> None:
    """A process that an administrator starts with `docker exec` never had our own filter."""
    code = (
        "import ctypes; c = ctypes.CDLL(None); print(c.unshare(0x10000000), c.ptrace(0, 0, 0, 0), c.syscall(425, 8, 0))"
    )
    with docker.create() as sandbox:
        container = sandbox.container.id
        made = docker.daemon.call("exec", lambda api: api.exec_create(container, ["python3", "-c", code]))
        said = docker.daemon.call("exec", lambda api: api.exec_start(made["Id"]))
    assert said.split() == [b"-1", b"-1", b"-1"]


@needs_docker
def test_many_commands_go_through_one_stream_and_no_exec(docker: Docker) -> None:
    with docker.create() as sandbox, ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda n: sandbox.exec(["echo", str(n)]).stdout.text, range(40)))
        assert results == [f"{n}\n" for n in range(40)]
        assert not sandbox.container.inspect()["ExecIDs"]


@needs_docker
def test_a_program_cannot_reach_its_supervisor(docker: Docker) -> None:
    with docker.create() as sandbox:
        if not sandbox.container.facts["apart"]:
            pytest.skip("this kernel cannot keep programs apart (Landlock, Linux 6.12)")
        alone = sandbox.python("import os; os.kill(-1, 9)")
        assert alone.ok, "there was somebody else to reach"
        assert "PermissionError" in sandbox.python("import os; os.kill(os.getppid(), 19)").stderr.text


MARKED = "import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'marked')\n"
SUPERVISORS = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1] == "1":
        os.kill(int(name), signal.SIG)
"""


@needs_docker
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_a_supervisor_that_is_killed_is_data_and_what_it_leaves_is_ended_too(docker: Docker, number: str) -> None:
    """As a program could on a kernel that does not keep it apart: here by a process from outside with the same user."""
    code = MARKED + "if os.fork() == 0:\n  os.setsid(); time.sleep(60)\ntime.sleep(60)"
    argv = ["python3", "-c", SUPERVISORS.replace("SIG)", f"{number})")]
    with docker.create() as sandbox, ThreadPoolExecutor(1) as threads:
        running = threads.submit(sandbox.python, code)
        while "marked" not in sandbox.exec("cat /proc/[0-9]*/comm").stdout.text:
            assert not running.done()
        made = docker.daemon.call("exec", lambda api: api.exec_create(sandbox.container.id, argv))
        docker.daemon.call("exec", lambda api: api.exec_start(made["Id"]))
        assert running.result(20).status == "signalled"
        assert "marked" not in sandbox.exec("cat /proc/[0-9]*/comm").stdout.text, "it is still there"


@needs_docker
def test_a_container_that_goes_down_for_want_of_memory_is_data_and_a_reset_gives_another(docker: Docker) -> None:
    with docker.create(SandboxSpec(limits=SandboxLimits(memory_mib=64))) as sandbox:
        assert sandbox.python("x = bytearray(2**28)").status == "out_of_memory"
        docker.daemon.call(
            "kill", lambda api: api.kill(sandbox.container.id)
        )  # as the kernel may, when nothing else is left
        sandbox.container.stream.close()
        assert [sandbox.exec("true").status for _ in range(2)] == ["out_of_memory"] * 2
        assert sandbox.get_tree(".").refused.keys() == {"."}
        sandbox.reset()
        assert sandbox.exec("echo new").stdout.text == "new\n"


@needs_docker
def test_what_forks_faster_than_anybody_looks_is_ended_too(docker: Docker) -> None:
    """Each process here forks again and again; when one is killed, there is room for the next."""
    bomb = MARKED + "if os.fork() == 0:\n  os.setsid()\n  while True:\n    try: os.fork()\n    except OSError: pass\n"
    with docker.create() as sandbox:
        result = sandbox.python(bomb)
        assert result.status in ("exited", "too_many_processes")
        assert "marked" not in sandbox.exec("cat /proc/[0-9]*/comm").stdout.text, "it is still there"
        assert sandbox.python("print(1)").stdout.text == "1\n"


@needs_docker
def test_no_uid_is_used_twice_and_none_is_root(docker: Docker) -> None:
    with docker.create() as one, docker.create() as two:
        uids = {one.container.uid, two.container.uid}
        assert len(uids) == 2
        assert {int(sandbox.exec("id -u").stdout.text) for sandbox in (one, two)} == uids


@needs_docker
def test_a_container_made_ahead_is_used_once(docker: Docker) -> None:
    seen: set[str] = set()
    for _ in range(5):
        with docker.create() as sandbox:
            assert sandbox.container.id not in seen
            seen.add(sandbox.container.id)
            assert sandbox.exec("ls -A /workspace /tmp").stdout.text == "/tmp:\n\n/workspace:\n"


@needs_docker
def test_a_sandbox_that_nobody_holds_any_more_goes_too(docker: Docker, api: Any) -> None:
    sandbox = docker.create(SandboxSpec(labels={"test": "forgotten"}))
    container = sandbox.container.id
    del sandbox
    gc.collect()
    assert until(lambda: container not in ours(api, "test=forgotten"))


@needs_docker
def test_closing_a_provider_leaves_no_container(api: Any) -> None:
    provider = Docker()
    made = [provider.create(SandboxSpec(labels={"test": "closing"})) for _ in range(3)]
    made[0].close()
    assert len(ours(api, "test=closing")) >= 2
    provider.close()
    assert until(lambda: not ours(api, "test=closing")), "containers are left"
    with pytest.raises(SandboxFault, match="closed"):
        provider.create()


@needs_docker
def test_a_container_that_vanishes_is_infrastructure(docker: Docker, api: Any) -> None:
    with docker.create() as sandbox:
        found: list[object] = []

        def work() -> None:
            try:
                found.append(sandbox.exec("sleep 30"))
            except SandboxFault as fault:
                found.append(fault)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
        api.remove_container(sandbox.container.id, force=True)
        thread.join(10)
        assert isinstance(found[0], SandboxFault), found
        with pytest.raises(SandboxFault, match="is gone"):
            sandbox.exec("true")
        with pytest.raises(SandboxFault, match="is gone"):
            sandbox.reset()


@needs_docker
def test_a_missing_image_is_said_with_what_to_do(docker: Docker) -> None:
    with pytest.raises(ConfigError, match="docker pull no-such-image:1"):
        docker.create(SandboxSpec(image="no-such-image:1"))


@needs_docker
def test_a_named_image_is_used_with_its_own_path_and_without_its_entry_point(docker: Docker, api: Any) -> None:
    name = "agentrl-test:named"
    changes = ['ENTRYPOINT ["/bin/false"]', "ENV PATH=/opt/own:/usr/local/bin:/usr/bin"]
    api.import_image_from_data(docker_image.archive(), repository="agentrl-test", tag="named", changes=changes)
    try:
        with docker.create(SandboxSpec(image=name)) as sandbox:
            assert sandbox.exec("echo $PATH").stdout.text == "/opt/own:/usr/local/bin:/usr/bin\n"
            assert sandbox.container.inspect()["Config"]["Image"] == name
    finally:
        assert until(lambda: _removed(api, name))


def _removed(api: Any, image: str) -> bool:
    from docker.errors import APIError

    try:
        api.remove_image(image, force=True)
    except APIError as error:
        return bool(error.status_code == 404)
    return True


@needs_docker
def test_an_image_without_python_is_said_with_what_to_do(api: Any) -> None:
    with Docker(python="python9.99", warm=0) as provider, pytest.raises(ConfigError, match=r"Python 3\.9 or newer"):
        provider.create()


WORKER = """
import time
from agentrl import SandboxSpec
from agentrl_sandboxes.docker.provider import Docker
from agentrl_sandboxes.docker.ownership import owner
provider = Docker(warm=1)
sandbox = provider.create(SandboxSpec(labels={"test": "worker"}))
print(owner(), sandbox.container.id, flush=True)
sandbox.exec("sleep 300")
"""


@needs_docker
def test_kill_9_of_the_process_leaves_nothing_behind(docker: Docker, api: Any) -> None:
    process = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True, env=worker_env())
    assert process.stdout is not None
    owner = process.stdout.readline().split()[0]
    process.kill()
    process.wait()
    process.stdout.close()
    label = {"label": f"{ownership.OWNER}={owner}"}
    assert until(lambda: not api.containers(filters=label)), "the container goes on without anybody"
    docker.reap()  # one that had been created, but not started
    assert until(lambda: not api.containers(all=True, filters=label))


@needs_docker
def test_the_reaper_removes_what_nobody_owns_and_nothing_else(docker: Docker, api: Any) -> None:
    dead = ownership.owner().rsplit("/", 2)[0] + "/999999999/1"
    labels = {ownership.LABEL: "1", ownership.OWNER: dead, ownership.EXPIRES: "9999999999"}
    expired = {**labels, ownership.OWNER: "another machine", ownership.EXPIRES: "1"}
    remote = {**labels, ownership.OWNER: "another machine"}
    with docker.create() as sandbox:
        image = sandbox.container.inspect()["Image"]
        made = [api.create_container(image, ["python3"], labels=each)["Id"] for each in (labels, expired, remote)]
        said = "\n".join(docker.reap())
        assert made[0][:12] in said
        assert made[1][:12] in said
        assert made[2][:12] not in said
        assert sandbox.exec("true").ok
        api.remove_container(made[2])


@needs_docker
@pytest.mark.heavy
def test_killing_the_daemon_is_infrastructure_and_the_breaker_stops_asking() -> None:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("only root with `dockerd` can start a daemon to kill")
    with tempfile.TemporaryDirectory(prefix="agentrl-dockerd-") as folder:
        process, host = _start_daemon(Path(folder))
        try:
            provider = Docker(host=host, warm=0, timeout_s=10.0)
            assert until(lambda: not provider.obstacle()), Path(folder, "log").read_text()[-1000:]
            provider.daemon.breaker.succeeded()
            sandbox = provider.create()
            assert sandbox.exec("true").ok
            process.kill()
            process.wait()
            with pytest.raises(SandboxFault, match="is gone"):
                sandbox.exec("true")
            for _ in range(6):
                with pytest.raises(SandboxFault):
                    provider.create()
            began = time.monotonic()
            with pytest.raises(SandboxFault, match="in a row"):
                provider.create()
            assert time.monotonic() - began < 0.1
            sandbox.close()
            provider.close()
        finally:
            process.kill()
            process.wait()
            _end_daemon(Path(folder))


def _start_daemon(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    host = f"unix://{folder}/docker.sock"
    process = subprocess.Popen(
        ["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", f"--host={host}",
         f"--pidfile={folder}/pid", f"--data-root={folder}/data", f"--exec-root={folder}/exec"],
        stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    return process, host


def _end_daemon(folder: Path) -> None:
    """What a killed daemon leaves: its containerd, containers and mounts."""
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if str(folder) in line:
            subprocess.run(["umount", "-l", line.split()[1]], check=False)


def test_the_breaker_opens_after_failures_and_lets_one_try_after_a_rest() -> None:
    breaker = CircuitBreaker(breaks_after=2, pause_s=0.2)
    breaker.failed()
    breaker.admit()
    breaker.failed()
    with pytest.raises(SandboxFault, match="2 times in a row"):
        breaker.admit()
    time.sleep(0.25)
    breaker.admit()
    with pytest.raises(SandboxFault):
        breaker.admit()
    breaker.succeeded()
    breaker.admit()
    breaker.admit()


def test_a_daemon_that_is_not_there_is_said_with_what_to_do() -> None:
    pytest.importorskip("docker")
    provider = Docker(host="unix:///no/such/docker.sock")
    assert "systemctl start docker" in provider.obstacle()
    with pytest.raises(SandboxFault, match="does not answer"):
        provider.create()
    provider.close()


def test_no_more_calls_than_allowed_are_under_way() -> None:
    pytest.importorskip("docker")
    daemon = Daemon("unix:///no/such/docker.sock", 1.0, at_once=2)
    daemon._client = object()
    now, most, lock = 0, 0, threading.Lock()

    def slow(_: Any) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: daemon.call("wait", slow), range(16)))
    assert most == 2


def test_frames_survive_any_cut() -> None:
    sent = [(mux.DATA, 7, b"x" * 1000), (mux.CLOSE, 7, b""), (mux.ASK, 9, b"{}")]
    data = b"".join(mux.pack(*frame) for frame in sent)
    for size in (1, 2, 9, 500, 10_000):
        splitter = mux.Splitter()
        assert [f for at in range(0, len(data), size) for f in splitter.feed(data[at : at + size])] == sent
    with pytest.raises(ValueError, match="no frame"):
        list(mux.Splitter().feed(b"\xff" * 9))


def test_a_stream_that_talks_nonsense_is_a_fault_and_not_a_crash() -> None:
    near, far = socket.socketpair()
    stream = Stream(near, "test")
    fd, _ = stream.open()
    far.sendall(b"\x01\0\0\0\0\0\0\x09" + b"\xff" * 9)
    assert until(lambda: not stream.alive())
    with pytest.raises(SandboxFault, match="no frame"):
        stream.ask("wipe")
    assert os.read(fd, 1) == b"", "whoever waits for a supervisor has to hear that it is gone"
    os.close(fd)
    stream.close()
    far.close()


def test_the_outer_filter_names_what_the_inner_one_allows() -> None:
    import json

    rules = json.loads(docker_seccomp.profile())["syscalls"]
    allowed = {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert allowed == set(seccomp.allowed_names())
    assert not {"ptrace", "mount", "unshare", "bpf", "setns", "io_uring_enter", "keyctl"} & allowed
    strict = json.loads(docker_seccomp.profile("strict"))["syscalls"]
    assert not any(rule["names"] == ["socket"] for rule in strict)


def test_limits_reach_the_daemon() -> None:
    library = pytest.importorskip("docker")
    api = library.APIClient(base_url="unix:///no/such/docker.sock", version="1.41")
    spec = SandboxSpec(limits=SandboxLimits(memory_mib=100, pids=10, disk_mib=8))
    build = docker_container.Build("python3", (), 0.5, "")
    config = docker_container.host_config(api, build, spec, 7)
    assert config["NetworkMode"] == "none"
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert (config["PidsLimit"], config["NanoCpus"]) == (16, 500_000_000)
    assert config["Memory"] == config["MemorySwap"] == 132 * 2**20
    assert all(f"size={8 * 2**20}" in options for options in config["Tmpfs"].values())

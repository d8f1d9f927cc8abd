"""A pool of sandboxes: a real server process, its workers, and clients over the loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sandbox_support import needs_bubblewrap, worker_env

from agentrl import ConfigError, DataError, SandboxFault, SandboxLimits, SandboxSpec
from agentrl_sandboxes.checks import escapes_later_runs, escapes_meeting, escapes_results
from agentrl_sandboxes.checks.kit import CHECKS, check_provider
from agentrl_sandboxes.pool.messages import pack_message, unpack_message
from agentrl_sandboxes.pool.permits import Busy, Permits
from agentrl_sandboxes.pool.provider import Pool
from agentrl_sandboxes.pool.server import PoolServer, PoolSettings

pytest.importorskip("websockets")
ON_THE_WAY = {  # what the way through a pool could break; the others are the same sandbox once more
    "output_and_exit_code_come_back", "an_argument_is_one_argument", "standard_input_arrives_whole",
    "surroundings_are_what_was_asked_for", "output_keeps_head_and_tail", "output_can_be_had_as_it_comes",
    "an_error_in_the_listener_ends_the_run", "many_threads_can_use_one_sandbox", "closing_is_safe_twice_and_final",
    "closing_ends_what_runs", "asking_for_too_much_is_refused", "the_grade_is_json_and_complete",
    "what_a_run_was_can_be_kept", "files_go_in_and_come_out", "files_that_are_not_there_are_data",
    "what_is_not_declared_is_refused", "variables_of_a_python_session_survive", "sessions_do_not_disturb_each_other",
    "a_snapshot_brings_files_back", "a_fork_has_the_files_and_goes_its_own_way", "forks_can_be_made_at_once",
}  # fmt: skip
TOKEN = "a-token-of-tests-that-is-long-enough"


class Served:
    """`agentrl sandbox serve` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-c",
            "from agentrl_sandboxes.commands import sandbox; sandbox()",
            "serve",
            "--port",
            "0",
        ]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, text=True, env={**worker_env(), "AGENTRL_POOL_TOKEN": TOKEN}
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"ws://\S+:\d+", said)
        assert found, f"it said {said!r}"
        self.url = found[0]
        assert TOKEN not in said + self.process.stdout.readline()

    def close(self) -> int:
        self.process.terminate()
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def workers(self) -> list[int]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served("--workers", "2", "--sandboxes", "16")
    yield made
    assert made.close() == 0


@pytest.fixture(scope="module")
def pool(served: Served) -> Iterator[Pool]:
    with Pool(url=served.url, token=TOKEN) as made:
        yield made


@pytest.fixture
def small() -> Iterator[PoolServer]:
    """One worker, two places, one that may wait."""
    server = PoolServer(PoolSettings(port=0, workers=1, sandboxes=2, queue=1, wait_s=0.3))
    server.start()
    yield server
    server.close()


def until(condition: object, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@needs_bubblewrap
@pytest.mark.parametrize(
    "check", [name if name in ON_THE_WAY else pytest.param(name, marks=pytest.mark.heavy) for name in CHECKS]
)
def test_a_pool_keeps_the_contract(check: str, pool: Pool) -> None:
    CHECKS[check](pool)


@needs_bubblewrap
def test_what_comes_out_of_a_pool_cannot_be_faked_either(pool: Pool) -> None:
    attempts = [*escapes_results.ATTEMPTS, *escapes_meeting.ATTEMPTS, *escapes_later_runs.ATTEMPTS]
    report = check_provider(pool, attempts=attempts, contract=False)
    assert report.passed, [result for result in report.results if result.verdict == "failed"]


@needs_bubblewrap
def test_the_grade_is_the_pools_own_and_says_where(pool: Pool) -> None:
    with pool.create() as sandbox:
        grade = sandbox.grade()
    assert (grade["sandbox"], grade["level"]) == ("bubblewrap", "namespaces")
    assert grade["pool"].startswith("ws://127.0.0.1:")


@needs_bubblewrap
def test_many_clients_at_once_get_their_own_answers(served: Served) -> None:
    def cycle(number: int) -> str:
        with pool.create() as sandbox:
            return sandbox.python(f"print({number})").stdout.text

    with Pool(url=served.url, token=TOKEN) as pool, ThreadPoolExecutor(24) as threads:
        assert list(threads.map(cycle, range(60))) == [f"{number}\n" for number in range(60)]


@needs_bubblewrap
@pytest.mark.parametrize("token", ["", "another-token-that-is-long-enough"])
def test_without_the_token_nothing_is_told(served: Served, token: str) -> None:
    stranger = Pool(url=served.url, token=token)
    assert "does not know this token" in stranger.obstacle()
    with pytest.raises(ConfigError, match="AGENTRL_POOL_TOKEN"):
        stranger.create()


def test_nobody_there_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    pool = Pool(url=f"ws://127.0.0.1:{port}", token=TOKEN)
    assert "agentrl sandbox serve" in pool.obstacle()
    with pytest.raises(SandboxFault, match="no pool answers"):
        pool.create()


@needs_bubblewrap
def test_a_full_pool_is_busy_and_says_so_in_the_end(small: PoolServer) -> None:
    with Pool(url=small.url, token=small.token, patience_s=1.0) as pool, pool.create(), pool.create():
        began = time.monotonic()
        with pytest.raises(SandboxFault, match=r"busy for 1 s: all 2 sandboxes .*--sandboxes"):
            pool.create()
        assert 0.5 < time.monotonic() - began < 5.0


@needs_bubblewrap
def test_a_creation_that_waits_gets_the_place_that_becomes_free(small: PoolServer) -> None:
    with Pool(url=small.url, token=small.token) as pool, ThreadPoolExecutor(8) as threads:

        def cycle(number: int) -> str:
            with pool.create() as sandbox:
                return sandbox.exec(["echo", str(number)]).stdout.text

        assert list(threads.map(cycle, range(16))) == [f"{number}\n" for number in range(16)]


@needs_bubblewrap
def test_a_worker_that_dies_is_infrastructure_and_is_replaced(small: PoolServer) -> None:
    with Pool(url=small.url, token=small.token) as pool:
        sandbox, other = pool.create(), pool.create()
        found: list[object] = []

        def work() -> None:
            try:
                found.append(sandbox.exec("sleep 30"))
            except SandboxFault as fault:
                found.append(fault)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        old = small.workers[0].pid
        os.kill(old, signal.SIGKILL)
        thread.join(10)
        assert "is gone" in str(found[0])
        with pytest.raises(SandboxFault, match="is gone"):
            other.exec("true")
        sandbox.close()
        other.close()
        assert until(lambda: small.workers[0].pid != old)
        with pool.create() as one, pool.create() as two:  # the places of the dead are free again
            assert one.exec("true").ok
            assert two.exec("true").ok


@needs_bubblewrap
def test_a_client_that_is_killed_leaves_nothing_in_the_pool(small: PoolServer) -> None:
    code = f"""
import threading, time
from agentrl_sandboxes.pool.provider import Pool
pool = Pool(url={small.url!r}, token={small.token!r})
made = [pool.create() for _ in range(2)]
threading.Thread(target=made[0].exec, args=("sleep 300",), daemon=True).start()
time.sleep(0.2)
print("ready", flush=True)
time.sleep(300)
"""
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=worker_env())
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.kill()
    client.wait()
    client.stdout.close()
    with Pool(url=small.url, token=small.token, patience_s=10.0) as pool, pool.create(), pool.create() as both:
        assert both.exec("true").ok


@needs_bubblewrap
def test_a_server_that_is_told_to_end_takes_its_workers_along() -> None:
    served = Served("--workers", "2")
    workers = served.workers()
    assert len(workers) == 2
    with Pool(url=served.url, token=TOKEN) as pool:
        sandbox = pool.create()
        assert served.close() == 0
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        with pytest.raises(SandboxFault, match="is gone"):
            sandbox.exec("true")


@needs_bubblewrap
def test_workers_do_not_outlive_a_server_that_is_killed() -> None:
    served = Served("--workers", "2")
    workers = served.workers()
    served.process.kill()
    served.close()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@needs_bubblewrap
def test_a_slow_listener_slows_the_program_and_not_the_memory(pool: Pool) -> None:
    taken = 0
    spec = SandboxSpec(limits=SandboxLimits(output_kib=4, flood_mib=1000))
    with pool.create(spec) as sandbox:

        def listen(stream: str, data: bytes) -> None:
            nonlocal taken
            taken += len(data)
            time.sleep(0.02)

        result = sandbox.exec(["cat", "/dev/zero"], timeout_s=1.0, on_output=listen)
        assert result.status == "timeout"
        assert result.stdout.total <= taken + 2**21, "it was read ahead of the listener"
        assert sandbox.exec("true").ok


@needs_bubblewrap
def test_a_listener_that_fails_ends_the_run_in_the_pool_too(small: PoolServer) -> None:
    def listen(stream: str, data: bytes) -> None:
        raise KeyError("stop")

    with Pool(url=small.url, token=small.token) as pool, pool.create() as sandbox:
        with pytest.raises(KeyError):
            sandbox.exec("echo x; sleep 30", on_output=listen)
        names = "cat /proc/[0-9]*/comm"
        assert until(lambda: "sleep" not in sandbox.exec(names).stdout.text, 5.0)


@needs_bubblewrap
def test_a_root_of_the_pools_machine_cannot_be_named(pool: Pool) -> None:
    assert "root" not in pool.abilities
    with pytest.raises(ConfigError, match="root"):
        pool.create(SandboxSpec(root="/etc"))


@needs_bubblewrap
def test_a_snapshot_that_nobody_holds_is_forgotten(small: PoolServer) -> None:
    with Pool(url=small.url, token=small.token) as pool, pool.create() as sandbox:
        number = sandbox.snapshot().number  # type: ignore[attr-defined]
        kept = sandbox.snapshot()
        sandbox.restore(kept)
        with pytest.raises(SandboxFault):
            sandbox.ask({"do": "restore", "snapshot": number})


def test_a_worker_that_cannot_start_is_said_at_once() -> None:
    with pytest.raises(SandboxFault, match="before it served"):
        PoolServer(PoolSettings(name="no-such-sandbox", port=0, workers=1)).start()


@needs_bubblewrap
def test_a_second_pool_at_the_same_address_is_refused(served: Served) -> None:
    with pytest.raises(ConfigError, match="--port"):
        PoolServer(PoolSettings(port=int(served.url.rsplit(":", 1)[1])))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token": "short"}, "at least 16"),
        ({"host": "0.0.0.0"}, "certificate"),
        ({"sandboxes": 0}, "sandboxes = 0"),
    ],
)
def test_a_pool_that_would_be_unsafe_or_useless_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PoolSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("message", ["text", b"", b"\0\0\0\xffshort", b"\0\0\0\x02[]", b"\0\0\0\x02no"])
def test_a_message_that_is_none_is_refused(message: bytes | str) -> None:
    with pytest.raises(DataError):
        unpack_message(message)


def test_a_message_survives_the_journey() -> None:
    assert unpack_message(pack_message({"ü": [1, None]}, b"\0data")) == ({"ü": [1, None]}, b"\0data")


def test_slots_are_bounded_and_so_is_the_queue(tmp_path: Path) -> None:
    permits = Permits(str(tmp_path), 2, 0, 0.1)
    first, second = permits.take(), permits.take()
    with pytest.raises(Busy, match="0 wait already"):
        permits.take()
    permits.give_back(first)
    assert permits.take() == first
    permits.give_back(second)

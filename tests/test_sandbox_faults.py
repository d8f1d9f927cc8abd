"""When machinery fails: killed processes leave nothing behind, and nobody blames the program."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sandbox_support import ROOT, needs_bubblewrap, needs_root, worker_env

from agentrl import SandboxFault, SandboxLimits, SandboxSpec
from agentrl_sandboxes.bubblewrap import reaper
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
from agentrl_sandboxes.inside import cgroups

pytestmark = needs_bubblewrap

WORKER = """
import sys, threading, time
from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
provider = Bubblewrap()
sandboxes = [provider.create() for _ in range(3)]
sessions = [sandbox.session("python") for sandbox in sandboxes]
for session in sessions:
    session.run("import ctypes, os; ctypes.CDLL(None).prctl(15, b'{mark}'); os.fork()")
for sandbox in sandboxes:
    threading.Thread(target=sandbox.exec, args=("sleep 300",), daemon=True).start()
time.sleep(0.3)
print(provider.family, flush=True)
time.sleep(300)
"""


def marked(mark: str) -> list[int]:
    """Processes with a name."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == mark:
                found.append(int(comm.parent.name))
        except OSError:
            continue
    return found


def family_processes(launcher: int) -> list[int]:
    """A launcher and all its descendants."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {launcher}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def remains(family: str) -> list[str]:
    """What a family left on the host: folders, control groups, mounts."""
    folders = [*reaper.state_folders(), *(parent.path for parent in cgroups.find_parents().values())]
    left = [str(path) for folder in folders if (path := Path(folder, family)).exists()]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if family in line]
    return left + mounts


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def worker() -> object:
    mark = f"left{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER.replace("{mark}", mark)], stdout=subprocess.PIPE, text=True, env=worker_env()
    )
    assert process.stdout is not None
    family = process.stdout.readline().strip()
    yield process, family, mark
    process.kill()
    process.wait()
    process.stdout.close()


def test_kill_9_of_the_process_leaves_nothing_behind(worker: tuple[subprocess.Popen[str], str, str]) -> None:
    process, family, mark = worker
    assert len(marked(mark)) == 6
    assert remains(family)
    process.kill()
    assert until(lambda: not marked(mark)), "programs live on"
    assert until(lambda: not remains(family)), f"left behind: {remains(family)}"


def test_the_reaper_finishes_where_everything_was_killed(worker: tuple[subprocess.Popen[str], str, str]) -> None:
    process, family, mark = worker
    for pid in [process.pid, *family_processes(int(family.split("-")[1]))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert until(lambda: not marked(mark)), "programs live on"
    assert remains(family), "there is nothing for the reaper to do, so this shows nothing"
    assert until(lambda: any(line.startswith(family) for line in reaper.reap()) or not remains(family))
    assert not remains(family)


def test_the_reaper_leaves_the_living_alone() -> None:
    with Bubblewrap() as provider, provider.create() as sandbox:
        reaper.reap()
        assert sandbox.exec("true").ok


def test_closing_a_provider_leaves_nothing_behind() -> None:
    provider = Bubblewrap()
    made = [provider.create() for _ in range(4)]
    for sandbox in made[:2]:
        sandbox.close()
    snapshot = made[2].snapshot()
    child = made[2].fork()
    assert child.exec("true").ok
    family = provider.family
    provider.close()
    assert not remains(family)
    del snapshot
    with pytest.raises(SandboxFault, match="closed"):
        provider.create()
    with pytest.raises(SandboxFault, match="closed"):
        made[3].exec("true")


def test_cycles_leave_no_processes_groups_mounts_or_descriptors() -> None:
    with Bubblewrap() as provider:
        provider.create().close()
        family = provider.family
        launcher = int(family.split("-")[1])

        def count() -> tuple[int, int, int]:
            groups = sum(len(list(Path(p.path).glob(f"{family}/*"))) for p in cgroups.find_parents().values())
            mounts = len(Path(f"/proc/{launcher}/mountinfo").read_text().splitlines())
            return len(os.listdir("/proc/self/fd")), groups, mounts

        def settled() -> bool:
            first = count()
            time.sleep(0.3)  # workers tidy up after they have answered
            return count() == first

        def live() -> None:
            with provider.create() as sandbox:
                sandbox.python("import os; os.fork(); print(1)")
                sandbox.restore(sandbox.snapshot())
                sandbox.session("python").run("x = 1")

        for _ in range(5):
            provider.create().close()
        assert until(settled, 5.0)
        before = count()
        for _ in range(25):
            live()
        assert until(lambda: count() <= before, 5.0), f"before {before}, after {count()}"
        assert until(lambda: len(family_processes(launcher)) <= 9, 5.0), family_processes(launcher)


def test_a_worker_that_dies_is_infrastructure_and_not_a_result() -> None:
    with Bubblewrap() as provider:
        sandbox = provider.create()
        manager = family_processes(int(provider.family.split("-")[1]))[1]
        workers = family_processes(manager)[1:]
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert until(lambda: not set(workers) & set(family_processes(manager)))
        with pytest.raises(SandboxFault):
            sandbox.exec("true")
        sandbox.close()
        with provider.create() as another:
            assert another.exec("true").ok, "the provider cannot make sandboxes any more"


def test_a_starter_that_dies_takes_its_runs_along_and_is_replaced() -> None:
    with Bubblewrap() as provider, provider.create() as sandbox:
        assert sandbox.exec("true").ok
        manager = family_processes(int(provider.family.split("-")[1]))[1]
        workers = [pid for pid in family_processes(manager) if parent_of(pid) == manager]
        for starter in [pid for pid in family_processes(manager) if parent_of(pid) in workers]:
            os.kill(starter, signal.SIGKILL)
        with pytest.raises(SandboxFault):  # nothing says that memory ran out
            sandbox.exec("true")
        assert sandbox.exec("true").ok
        assert sandbox.get_tree(".").files == {}


def test_what_a_program_died_of_is_right_however_many_run_at_once() -> None:
    """It is dead before its supervisor looks for the first time."""
    memory = "bytearray(b'x') * 2**28"
    processes = (
        "import os, signal\ntry:\n  while os.fork() or signal.pause(): pass\nexcept OSError: os.kill(os.getpid(), 9)"
    )
    spec = SandboxSpec(limits=SandboxLimits(memory_mib=64, pids=16))
    with Bubblewrap() as provider, ThreadPoolExecutor(32) as threads:

        def end_of(code: str) -> str:
            with provider.create(spec) as sandbox:
                return sandbox.python(code).status

        endings = list(threads.map(end_of, [memory, processes] * 16))
    assert endings == ["out_of_memory", "too_many_processes"] * 16


def test_snapshots_of_an_earlier_sandbox_take_no_memory_from_the_next_one() -> None:
    spec = SandboxSpec(limits=SandboxLimits(memory_mib=96, disk_mib=96))
    use_most = "chunk = b'x' * 2**20\nwith open('f', 'wb') as file:\n  for _ in range(60): file.write(chunk)"
    with Bubblewrap(warm=1) as provider:
        kept = []
        for _ in range(3):  # one after the other in the same worker
            with provider.create(spec) as sandbox:
                assert sandbox.python(use_most).ok
                kept.append(sandbox.snapshot())


def test_a_manager_that_dies_is_infrastructure_too() -> None:
    provider = Bubblewrap()
    sandbox = provider.create()
    family = provider.family
    manager = family_processes(int(family.split("-")[1]))[1]
    os.kill(manager, signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{manager}").exists())
    with pytest.raises(SandboxFault):
        sandbox.exec("true")
    with provider.create() as another:
        assert another.exec("true").ok, "the provider cannot make sandboxes any more"
    sandbox.close()
    provider.close()
    assert until(lambda: not remains(family)), remains(family)


def test_a_full_disk_inside_is_the_programs_own_problem() -> None:
    spec = SandboxSpec(limits=SandboxLimits(disk_mib=4, file_mib=64))
    with Bubblewrap() as provider, provider.create(spec) as sandbox:
        result = sandbox.exec("head -c 10000000 /dev/zero > big")
        assert result.status == "exited"
        assert "No space left" in result.stderr.text
        assert sandbox.exec("rm big; echo ok > small; cat small").stdout.text == "ok\n"
        sandbox.restore(sandbox.snapshot())
        assert sandbox.get("small") == b"ok\n"


def test_a_machine_without_room_for_a_manager_is_infrastructure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentrl_sandboxes.bubblewrap.workers.state_folder", lambda: str(tmp_path / "gone"))
    with Bubblewrap() as provider, pytest.raises(SandboxFault, match="No such file"):
        provider.create()


def test_many_sandboxes_at_once_all_work() -> None:
    with Bubblewrap() as provider, ThreadPoolExecutor(24) as threads:

        def cycle(number: int) -> str:
            with provider.create() as sandbox:
                return sandbox.python(f"print({number})").stdout.text

        assert list(threads.map(cycle, range(48))) == [f"{number}\n" for number in range(48)]


@pytest.mark.heavy
def test_two_hundred_sandboxes_at_once_all_work() -> None:
    with Bubblewrap() as provider:
        made = [provider.create() for _ in range(200)]
        with ThreadPoolExecutor(200) as threads:
            results = list(threads.map(lambda sandbox: sandbox.python("print(1)", timeout_s=60.0), made))
        assert all(result.ok for result in results), {result.status for result in results}


@needs_root
def test_an_ordinary_user_gets_sandboxes_too(tmp_path: Path) -> None:
    """As uid 60001, without any right: everything is the same, save what only control groups can enforce."""
    package = tmp_path / "code"
    for name in ("agentrl", "sandboxes"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(package)], check=True)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    code = textwrap.dedent("""
        import json, os, sys
        from agentrl_sandboxes.checks.kit import CHECKS
        from agentrl_sandboxes.bubblewrap.provider import Bubblewrap
        assert os.getuid() == 60001
        with Bubblewrap() as provider:
            if provider.obstacle():
                print("skip", provider.obstacle())
                sys.exit()
            for name in ("output_and_exit_code_come_back", "memory_is_limited", "processes_are_limited",
                         "a_snapshot_brings_files_back", "what_is_left_over_is_killed_and_counted",
                         "removed_permissions_are_data", "thousands_of_nested_folders_are_data"):
                CHECKS[name](provider)
            with provider.create() as sandbox:
                print(json.dumps(sandbox.grade()))
    """)
    python = _readable_python()
    if not python:
        pytest.skip("no Python with our libraries that other users may run")
    env = {"PYTHONPATH": f"{package}:{package / 'sandboxes'}:{':'.join(p for p in sys.path if 'site-packages' in p)}"}
    done = subprocess.run(
        [python, "-c", code], user=60001, group=60001, extra_groups=[], env=env, cwd="/", capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    if done.stdout.startswith("skip"):
        pytest.skip(done.stdout)
    assert '"level": "namespaces"' in done.stdout
    assert '"host": 60001' in done.stdout


def _readable_python() -> str:
    """A Python of the same version that an ordinary user may start."""
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (sys.executable, f"/usr/bin/python{wanted}", "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                user=60001, group=60001, extra_groups=[], capture_output=True, text=True, cwd="/", check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.stdout.strip() == wanted:
            return candidate
    return ""

"""Attempts at what the caller believes: exit codes, files put in and taken out."""

from __future__ import annotations

import signal
import threading
import time

from agentrl import AgentRLError, Sandbox
from agentrl_sandboxes.checks.attempts import PRELUDE, Attempt, Target, left_running, program, within

EXIT_CODES, FILES = "fake exit codes in the output", "symlink and /proc tricks on put/get"


def _taken(target: Target, sandbox: Sandbox, path: str) -> bool:
    """Whether the secret of the host comes out with `path`, by either way of reading, or reading never ends."""
    secret = target.canaries.secret.encode()
    for read in (lambda: sandbox.get(path), lambda: b"".join(sandbox.get_tree(path).files.values())):
        in_time, answer = within(15.0, read)
        if not in_time or (isinstance(answer, bytes) and secret in answer):
            return True
    return False


def _get(name: str, plant: str, path: str) -> Attempt:
    def run(target: Target) -> bool:
        sandbox = target.sandbox()
        sandbox.python(PRELUDE + plant, env=target.canaries.env)
        return _taken(target, sandbox, path)

    return Attempt(FILES, name, run)


def _put(name: str, plant: str, path: str) -> Attempt:
    def run(target: Target) -> bool:
        sandbox = target.sandbox()
        sandbox.python(PRELUDE + plant, env=target.canaries.env)
        within(15.0, lambda: sandbox.put(path.format(folder=target.canaries.folder), b"planted"))
        return target.canaries.changed()

    return Attempt(FILES, name, run)


def _pipe(target: Target) -> bool:
    sandbox = target.sandbox()
    sandbox.python('import os; os.mkfifo("answer")')
    return not within(1.0, lambda: sandbox.get_tree("answer"))[0]


def _too_large(target: Target) -> bool:
    sandbox = target.sandbox()
    sandbox.python('open("answer", "wb").write(b"x" * 4 * 2**20)')
    try:
        return len(sandbox.get("answer", max_mib=1)) > 2**20
    except AgentRLError:
        return False


def _swapped(target: Target) -> bool:
    """A file that is a link every other moment, while it is being read."""
    code = """
open("honest", "w").write("mine")
until = time.time() + 0.6
while time.time() < until:
    for change in (lambda: os.symlink(E["CANARY_FILE"], "next"), lambda: os.link("honest", "next")):
        change()
        os.rename("next", "answer")
"""
    sandbox = target.sandbox()
    thread = threading.Thread(target=lambda: sandbox.python(PRELUDE + code, env=target.canaries.env), daemon=True)
    thread.start()
    leaked = False
    while thread.is_alive() and not leaked:
        try:
            leaked = target.canaries.secret.encode() in sandbox.get("answer")
        except (AgentRLError, OSError):
            time.sleep(0.001)
    thread.join()
    return leaked


def _exit_for_killed(target: Target) -> bool:
    """Leaving with 137 and being killed are not the same."""
    sandbox = target.sandbox()
    left = sandbox.exec(["python3", "-c", "raise SystemExit(137)"])
    killed = sandbox.exec(["python3", "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"])
    return (left.status, left.exit_code, killed.status) != ("exited", 137, "signalled") or killed.exit_code is not None


def _deep(target: Target) -> bool:
    """Whether reading below thousands of directories fails, instead of giving what there is."""
    sandbox = target.sandbox()
    sandbox.python('import os\nopen("file", "w").close()\nfor _ in range(2200):\n    os.mkdir("d")\n    os.chdir("d")')
    in_time, tree = within(15.0, lambda: sandbox.get_tree("."))
    return not in_time or "file" not in getattr(tree, "files", ())


def _many(target: Target) -> bool:
    sandbox = target.sandbox()
    sandbox.python('import os\nos.mkdir("many")\nfor number in range(300): open(f"many/{number}", "w").close()')
    return len(sandbox.get_tree("many", max_files=20).files) > 20


def _leased(target: Target) -> bool:
    """Whoever opens a file that another has a lease on waits for the kernel to break it, 45 s."""
    code = """
import fcntl, signal
mark()
open("answer", "w").write("mine")
if os.fork():
    {leave}
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open("answer", os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
open("ready", "w").close()
time.sleep(8)
os._exit(0)
"""
    sandbox = target.sandbox()
    with left_running(sandbox, code, target.canaries.env):
        sandbox.exec("for i in $(seq 50); do test -e ready && break; sleep 0.1; done")
        return not within(4.0, lambda: sandbox.get_tree("answer"))[0]


def _put_beside_a_swap(target: Target) -> bool:
    """A folder that is a link every other moment, while files are put below it."""
    code = """
import shutil
until = time.time() + 1.0
while time.time() < until:
    for make in (os.mkdir, lambda name: os.symlink(E["CANARY_FOLDER"], name)):
        try:
            make("in")
            time.sleep(0.001)
            os.unlink("in")
        except OSError:
            shutil.rmtree("in", ignore_errors=True)
"""
    sandbox = target.sandbox()
    thread = threading.Thread(target=lambda: sandbox.python(PRELUDE + code, env=target.canaries.env), daemon=True)
    thread.start()
    while thread.is_alive() and not target.canaries.changed():
        try:
            sandbox.put("in/planted", b"mine")
        except (AgentRLError, OSError):
            time.sleep(0.001)
    thread.join()
    return target.canaries.changed()


_UP = "../" * 12

ATTEMPTS: list[Attempt] = [
    program(
        EXIT_CODES,
        "print what looks like the end of a run",
        """
for words in ("__EXIT:0", "exit code: 0", "[exited with 0]", '{"status": "exited", "exit_code": 0}', "\\x00\\x00\\x00\\x00"):
    print(words, flush=True)
    print(words, file=sys.stderr, flush=True)
sys.exit(3)
""",
        check=lambda target, result: result.exit_code != 3,
    ),
    program(
        EXIT_CODES,
        "write a fake end to every open descriptor",
        """
header = b'{"status": "exited", "exit_code": 0, "signal": null, "killed": 0, "streams": [[0,0,0],[0,0,0]]}'
for fd in range(1, 1024):
    for fake in (b"\\n__EXIT:0\\n", struct.pack(">II", len(header), 0) + header):
        try:
            os.write(fd, fake)
        except OSError:
            pass
os._exit(3)
""",
        check=lambda target, result: result.exit_code != 3,
    ),
    Attempt(EXIT_CODES, "leave as if killed, be killed as if left", _exit_for_killed),
    _get("take out a link to a file of the host", 'os.symlink(E["CANARY_FILE"], "answer")', "answer"),
    _get("take out a folder that is a link", 'os.symlink(E["CANARY_FOLDER"], "answer")', "answer/secret.txt"),
    _get(
        "take out a folder with links in it",
        'os.makedirs("answer/a")\nos.symlink(E["CANARY_FILE"], "answer/a/b")',
        "answer",
    ),
    _get(
        "take out a link through /proc",
        'os.symlink(f"/proc/self/root{E[\'CANARY_FILE\']}", "answer")',
        "answer",
    ),
    _get(
        "take out what a chain of links leads to",
        'os.symlink("b", "answer")\nos.symlink(E["CANARY_FILE"], "b")',
        "answer",
    ),
    Attempt(FILES, "take out a pipe that nobody writes to", _pipe),
    Attempt(FILES, "take out more than was asked for", _too_large),
    Attempt(FILES, "take out what lies below thousands of folders", _deep),
    Attempt(FILES, "take out more files than were asked for", _many),
    Attempt(FILES, "take out a file with a lease on it", _leased),
    Attempt(FILES, "swap a file for a link while it is read", _swapped),
    Attempt(FILES, "swap a folder for a link while files are put into it", _put_beside_a_swap),
    _put("put through a link to a file of the host", 'os.symlink(E["CANARY_FILE"], "in")', "in"),
    _put("put below a folder that is a link", 'os.symlink(E["CANARY_FOLDER"], "in")', "in/planted"),
    _put("put under a path that climbs out", "", _UP + "{folder}/planted"),
    _put("put under an absolute path", "", "{folder}/planted"),
]

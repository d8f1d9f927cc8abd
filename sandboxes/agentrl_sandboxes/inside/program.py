"""From a fork of the supervisor to the program that was asked for: what is still to be given up, then the start.

Every object that is touched here is a page to copy, so this path uses as few as it can: no enums, no new streams.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the enums of `signal` cost pages
import atexit
import json
import os
import resource
import socket
import sys
import types
from collections.abc import Callable
from typing import NoReturn

from agentrl_sandboxes.inside import files, frames, kernel, trees, usage
from agentrl_sandboxes.inside.handles import Handles
from agentrl_sandboxes.inside.messages import FileAnswer, Job, Limits, Task

FIRST_FREE = 5
"""Descriptors below this one are a program's: its streams and, in a session, COMMANDS and ANSWERS. A supervisor uses none."""

COMMANDS, ANSWERS = 3, 4
"""Descriptors of a session: code comes in on one, exit codes go out on the other."""

_DEFAULT_AGAIN = [_signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGXFSZ]
_NEVER_IGNORED = (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, 32, 33)  # the C library keeps the last two
_MOST_FILES = 1024


def start(handles: Handles, jobs: socket.socket, fds: tuple[int, ...]) -> NoReturn:
    """Runs in the forked child and never returns. `fds`: standard input, output and error.

    It gets ready and waits. What to do is read here, from `sock`, so that the supervisor, which later programs are forked
    from, never sees more of it than what it has to enforce; that is handed on through `jobs`. How often limits were hit
    so far is read here too, because the program may hit one before the supervisor looks.
    """
    code = 126
    try:
        _get_ready(handles.proc_fd, fds)
        first, second = frames.receive(handles.sock), frames.receive(handles.sock)
        if first is None or second is None:
            os._exit(code)
        job: Job = first[0]
        task: Task = second[0]
        session = job["kind"] in _SESSIONS
        hits = usage.raw_hits(handles.memory_fd, handles.pids_fd)
        frames.send(jobs, job, json.dumps(task).encode() if session else hits)
        if session:
            os._exit(0)  # an interpreter of many calls is started by the supervisor itself
        _confine(job, 3, handles)
        if task.get("env"):
            os.environ.update(task["env"])
        code = _KINDS[job["kind"]](task, second[1])
    except BaseException as error:  # nothing may travel up into the supervisor's own code
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)


def start_session(job: Job, handles: Handles, fds: tuple[int, ...]) -> NoReturn:
    """Likewise for an interpreter; `fds` has commands and answers too."""
    code = 126
    try:
        _get_ready(handles.proc_fd, fds)
        _confine(job, FIRST_FREE, handles)
        if job.get("env"):
            os.environ.update(job["env"])
        code = _SESSIONS[job["kind"]]()
    except BaseException as error:  # as above
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)


def ignore_signals() -> None:
    """For a supervisor whose programs could send it signals: it ignores all that can be, and its programs do not."""
    for number in range(1, _signal.NSIG):
        if number not in _NEVER_IGNORED:
            _signal.signal(number, _signal.SIG_IGN)
            _DEFAULT_AGAIN.append(number)


def _get_ready(proc_fd: int, fds: tuple[int, ...]) -> None:
    """What can be done before the job is known."""
    os.setsid()
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    _signal.set_wakeup_fd(-1)
    for number in _DEFAULT_AGAIN:
        _signal.signal(number, _signal.SIG_DFL)
    kernel.set_dumpable(True)
    score = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc_fd)
    os.write(score, b"1000")  # when memory runs out it is the program that goes, not its supervisor


def _confine(job: Job, first_free: int, handles: Handles) -> None:
    """The rest of what is to be given up; privileges and system calls the supervisor has lost already itself."""
    os.closerange(first_free, _MOST_FILES)
    _set_limits(job["limits"], handles.memory_cgroup)
    if handles.apart and job["kind"] not in _OUR_OWN:
        kernel.keep_to_oneself()
    os.chdir(job["cwd"])


def _set_limits(limits: Limits, memory_cgroup: bool) -> None:
    cpu = int(limits["cpu_s"]) + 2  # the supervisor counts all processes together; this is the kernel's backstop
    size, processes = limits["file_bytes"], limits["pids"] + limits["pids_slack"]
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, size, size),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES, _MOST_FILES),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        *(() if memory_cgroup else ((resource.RLIMIT_DATA, limits["memory_bytes"], limits["memory_bytes"]),)),
    ):
        try:
            resource.setrlimit(kind, (soft, hard))
        except ValueError:  # the supervisor itself is held lower than that
            ceiling = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (min(soft, ceiling), ceiling))


def _run_argv(task: Task, _: bytes) -> int:
    try:
        os.execvp(task["argv"][0], task["argv"])
    except FileNotFoundError:
        os.write(2, f"{task['argv'][0]}: command not found\n".encode())
        return 127
    except OSError as error:
        os.write(2, f"{task['argv'][0]}: {error.strerror}\n".encode())
        return 126


def _run_python(task: Task, _: bytes) -> int:
    main = _fresh_main(task.get("args", []))
    source = task["code"]
    code = _guarded(lambda: exec(compile(source, "<snippet>", "exec"), main.__dict__), source, "<snippet>")
    return _leave(code)


def _python_session() -> NoReturn:
    main, own = _fresh_main([]), os.getpid()
    with open(COMMANDS, "rb", closefd=False) as commands:
        for number, line in enumerate(commands, start=1):
            code = _one_call(commands.read(int(line)).decode("utf-8", "replace"), f"<call {number}>", main)
            if os.getpid() != own:
                os._exit(code)  # a child that the call forked off has come to the end of the call
            os.write(ANSWERS, b"%d\n" % (code & 0xFF))
    os._exit(0)


def _one_call(source: str, name: str, main: types.ModuleType) -> int:
    code = _guarded(lambda: _call(source, name, main), source, name)
    return _flush() or code


def _shell_session() -> int:
    os.dup2(COMMANDS, 0)
    os.close(COMMANDS)
    try:
        os.execvp("bash", ["bash", "--noprofile", "--norc", "-s"])
    except FileNotFoundError:
        return _run_argv({"argv": ["sh", "-s"]}, b"")


def _serve_files(task: Task, payload: bytes) -> int:
    def send(answer: FileAnswer, contents: bytes) -> None:
        for data in (frames.pack(answer, len(contents)), contents):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]

    files.serve(files.Places("/workspace"), task, payload, send)
    return 0


def _archive_files(task: Task, _: bytes) -> int:
    trees.archive(task["paths"], 1)
    return 0


def _unpack_files(task: Task, _: bytes) -> int:
    trees.unpack(0)
    return 0


_OUR_OWN: dict[str, Callable[[Task, bytes], int]] = {
    "files": _serve_files,
    "archive": _archive_files,
    "unpack": _unpack_files,
}
_KINDS: dict[str, Callable[[Task, bytes], int]] = {"argv": _run_argv, "python": _run_python, **_OUR_OWN}
_SESSIONS: dict[str, Callable[[], int]] = {"session.python": _python_session, "session.shell": _shell_session}


def _fresh_main(args: list[str]) -> types.ModuleType:
    """A `__main__` like a new interpreter's. Streams are the supervisor's own, never used before, on this program's pipes."""
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    sys.argv = ["-c", *args]
    sys.path.insert(0, "")
    if "numpy.random" in sys.modules:  # `random` itself starts anew after a fork
        sys.modules["numpy.random"].seed()
    return main


def _show_source(source: str, name: str) -> None:
    import linecache

    linecache.cache[name] = (len(source), None, [f"{line}\n" for line in source.split("\n")], name)


def _call(source: str, name: str, main: types.ModuleType) -> None:
    """One call of a session; the value of a last expression is shown, as an interactive interpreter does."""
    import ast  # only sessions pay for it

    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), main.__dict__)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval"), main.__dict__)
        if value is not None:
            sys.stdout.write(f"{value!r}\n")


def _guarded(action: Callable[[], object], source: str = "", name: str = "") -> int:
    """The exit code that an interpreter would have ended with; `source` is for the traceback."""
    try:
        action()
    except SystemExit as leaving:
        return _exit_code(leaving.code)
    except BaseException as error:
        _show_source(source, name)
        _show(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _show(error: BaseException) -> None:
    try:
        frame: types.TracebackType | None = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
            frame = frame.tb_next  # our own part of the stack is of no use to anybody
        import traceback  # most programs do not pay for it

        traceback.print_exception(type(error), error, frame)
    except BaseException:  # a program may break its own streams or its exception's __str__
        os.write(2, f"{type(error).__name__}\n".encode())


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    sys.stderr.write(f"{value}\n")
    return 1


def _flush() -> int:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # streams are the program's own by now
        return 1
    return 0


def _leave(code: int) -> int:
    """What an interpreter does at its end: wait for threads, call exit functions, flush."""
    threading = sys.modules.get("threading")
    if threading is not None:
        _guarded(threading._shutdown)
    _guarded(atexit._run_exitfuncs)
    return _flush() or code

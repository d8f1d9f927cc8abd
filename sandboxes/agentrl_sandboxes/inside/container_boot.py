"""The entry of the first process of a container, once these modules have been sent in."""

from __future__ import annotations

import gc
import json
import os

from agentrl_sandboxes.inside import kernel, mux, seccomp
from agentrl_sandboxes.inside.container_init import STDERR, STDIN, STDOUT, Init


def main() -> None:
    """Runs once this module has been sent in; standard input and output are the stream."""
    for low, high in ((0, STDIN), (1, STDOUT), (2, STDERR)):
        os.dup2(low, high, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    for low in range(5):
        os.dup2(null, low)
    try:
        settings = json.loads(_read_blob(STDIN))
        for module in settings["preload"]:
            __import__(module)
        os.umask(0o022)
        os.chdir("/workspace")
        init = Init()
        facts = init.facts()
        kernel.forbid_new_privileges()
        kernel.set_dumpable(False)
        kernel.set_seccomp(seccomp.loadable(seccomp.compile_filter(settings["profile"])))
        gc.freeze()
        init.send(mux.pack(mux.ANSWER, 0, json.dumps(facts).encode()))
        init.work()
    except Exception as error:  # whoever started this container is told
        os.write(STDERR, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def _read_blob(fd: int) -> bytes:
    """Eight bytes of length, then as many bytes."""
    return _exactly(fd, int.from_bytes(_exactly(fd, 8), "big"))


def _exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            raise OSError("the stream ended too early")
        data += piece
    return data

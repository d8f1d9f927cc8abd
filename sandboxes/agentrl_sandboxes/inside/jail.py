"""The read-only side of a sandbox: a root directory and the namespaces that bubblewrap builds around it."""

from __future__ import annotations

import os
import re
import signal

from agentrl_sandboxes.inside import files, kernel

NAMESPACES = ("mnt", "net", "ipc", "uts", "cgroup", "user")
INSIDE_ID = 1000
_LINKS_OR_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MOUNT_POINTS = ("proc", "dev", "tmp", "workspace", "home/agent", "mnt")
_EMPTY_FOLDERS = ("run", "var/lib", "var/log", "opt", "srv", "root")
_ETC_FILES = ("ld.so.cache", "localtime", "mime.types", "protocols", "services", "os-release", "debian_version")
_ETC_FOLDERS = ("alternatives", "ld.so.conf.d", "python3", "java")  # and whatever begins so
ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:1000:1000:agent:/home/agent:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
}


def furnish_skeleton(folder: str, python: str, folders: list[str]) -> None:
    """What a root directory has beside the system's `folders`: mount points, a small /etc, `python`."""
    for name in [*_MOUNT_POINTS, *_EMPTY_FOLDERS, *folders]:
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    os.symlink("/tmp", f"{folder}/var/tmp")
    for name in _LINKS_OR_FOLDERS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{folder}/{name}")
    _furnish_etc(folder)
    os.makedirs(f"{folder}/opt/agentrl/bin")
    for name in ("python", "python3"):
        os.symlink(python, f"{folder}/opt/agentrl/bin/{name}")


def furnish_mount_points(folder: str) -> None:
    """What is laid over a root directory of one's own: only the places that something is mounted on."""
    for name in _MOUNT_POINTS:
        os.makedirs(f"{folder}/{name}")


def _furnish_etc(folder: str) -> None:
    os.makedirs(f"{folder}/etc")
    os.symlink("/proc/self/mounts", f"{folder}/etc/mtab")
    for name, text in ETC.items():
        with open(f"{folder}/etc/{name}", "w") as file:
            file.write(text)
    for name in sorted(os.listdir("/etc")):
        source = f"/etc/{name}"
        if name in _ETC_FILES and os.path.isfile(source):
            files.copy_file(source, f"{folder}/etc/{name}")
        elif name.startswith(_ETC_FOLDERS) and os.path.isdir(source):
            os.mkdir(f"{folder}/etc/{name}")
            files.copy_tree(source, f"{folder}/etc/{name}")


def system_folders(python_folders: list[str]) -> list[str]:
    """Folders of the host that a sandbox sees, read-only: the system's programs, and where Python lives."""
    folders = ["/usr", *(f"/{name}" for name in _LINKS_OR_FOLDERS if os.path.isdir(f"/{name}"))]
    folders = [folder for folder in folders if not os.path.islink(folder)]
    for folder in python_folders:
        if not any(folder == known or folder.startswith(f"{known}/") for known in folders):
            folders.append(folder)
    return folders


def mount_root(target: str, skeleton: str, root: str, folders: list[str], overlay: bool) -> None:
    """Put a root directory together at `target`: `root` where one is given, else the system's `folders`.

    Everything is shown through an overlay of this sandbox's own: the same files, but other inodes than the next
    sandbox sees, so that nobody can leave word there with a lock or a watch.
    """
    os.makedirs(target)
    if not overlay:
        _bind(root or os.path.abspath(skeleton), target)
        for folder in [] if root else folders:
            _bind(folder, target + folder)
        return
    _show(skeleton, root or "empty", target)
    for folder in [] if root else folders:
        _show(folder, "empty", target + folder)


def _show(upper: str, lower: str, target: str) -> None:
    flags = kernel.RDONLY | kernel.NODEV | kernel.NOSUID
    kernel.mount("overlay", target, "overlay", flags, f"lowerdir={_escape(upper)}:{_escape(lower)}")


def _bind(source: str, target: str) -> None:
    kernel.mount(source, target, None, kernel.BIND | kernel.RECURSIVE)


def build(bwrap: str, root: str, ids: tuple[int, int] | None) -> tuple[dict[str, int], int]:
    """Let bubblewrap make a sandbox around `root`: descriptors of its namespaces, and its process id.

    The namespaces live on by their descriptors; bubblewrap itself has been told to end, and is to be waited for.
    Raises OSError with bubblewrap's own words when it fails.
    """
    info_r, info_w = os.pipe()
    ready_r, ready_w = os.pipe()
    hold_r, hold_w = os.pipe()
    errors_r, errors_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exec_bwrap(bwrap, root, ids, info_w, (hold_r, ready_w, errors_w))
    for fd in (info_w, ready_w, hold_r, errors_w):
        os.close(fd)
    try:
        os.write(hold_w, b".")
        if os.read(ready_r, 1) != b".":  # `cat` hands the byte back once everything around it is in place
            words = _read_all(errors_r).decode(errors="replace").strip()
            os.waitpid(pid, 0)
            raise OSError(f"bubblewrap failed: {words or 'no message'}")
        found = re.search(rb'"child-pid": (\d+)', os.read(info_r, 4096))
        child = int(found[1]) if found else -1
        namespaces = _open_namespaces(child)
        os.kill(child, signal.SIGKILL)  # the first process inside, so that the one outside can collect it and end
        return namespaces, pid
    finally:
        for fd in (info_r, ready_r, hold_w, errors_r):
            os.close(fd)


def _open_namespaces(child: int) -> dict[str, int]:
    opened: dict[str, int] = {}
    try:
        for name in NAMESPACES:
            opened[name] = os.open(f"/proc/{child}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened


def _exec_bwrap(bwrap: str, root: str, ids: tuple[int, int] | None, info: int, streams: tuple[int, int, int]) -> None:
    arguments = [
        bwrap, "--unshare-all", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "sandbox",
        "--ro-bind", os.path.abspath(root), "/", "--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc",
        "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--info-fd", str(info), "--", "cat",
    ]  # fmt: skip
    try:
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        os.set_inheritable(info, True)
        if ids is not None:
            kernel.become(*ids)  # first of all: bubblewrap's own --uid would still leave host root behind it
        os.execve(bwrap, arguments, {"PATH": "/usr/bin:/bin"})
    except OSError as error:
        os.write(2, f"{bwrap}: {error}".encode())
    os._exit(127)


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")

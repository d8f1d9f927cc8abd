"""The read-only root directory of a sandbox: what it shows of the system, and what it has instead."""

from __future__ import annotations

import os
import stat

from agentrl_sandboxes.inside import kernel, trees

_LINKS_OR_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MOUNT_POINTS = ("proc", "dev", "tmp", "workspace", "home/agent", "mnt")
_EMPTY_FOLDERS = ("run", "var/lib", "var/log", "opt", "srv", "root")
_ETC_FILES = ("ld.so.cache", "localtime", "mime.types", "protocols", "services", "os-release", "debian_version")
_ETC_FOLDERS = ("alternatives", "ld.so.conf.d", "python3", "java")  # and whatever begins so
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
TERMINALS = "ptmxmode=0666,mode=0620,max=16"
"""Options of a file system of terminals: few, because all sandboxes together have what the kernel has."""

ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:1000:1000:agent:/home/agent:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
}


def make_skeleton(folder: str, python: str, folders: list[str]) -> None:
    """What a root directory has beside the system's `folders`: mount points, a small /etc, `python`."""
    for name in [*_MOUNT_POINTS, *_EMPTY_FOLDERS, *folders]:
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    os.symlink("/tmp", f"{folder}/var/tmp")
    for name in _LINKS_OR_FOLDERS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{folder}/{name}")
    _make_etc(folder)
    os.makedirs(f"{folder}/opt/agentrl/bin")
    for name in ("python", "python3"):
        os.symlink(python, f"{folder}/opt/agentrl/bin/{name}")


def make_devices(folder: str) -> bool:
    """Put a /dev together there, whose files no other sandbox sees; whether that can be done here.

    The machine's own device files would be a channel: locks and watches on them reach everybody.
    """
    os.makedirs(folder)
    flags = kernel.NOSUID | kernel.NOEXEC
    kernel.mount("tmpfs", folder, "tmpfs", flags, "size=64k,nr_inodes=64,mode=755")
    try:
        for name, (major, minor) in _DEVICES.items():
            os.mknod(f"{folder}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(f"{folder}/{name}", 0o666)
        os.close(os.open(f"{folder}/null", os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return False
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{folder}/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"{folder}/{name}")
    kernel.mount("none", folder, None, kernel.REMOUNT | kernel.RDONLY | flags)
    return True


def make_mount_points(folder: str) -> None:
    """What is laid over a root directory of one's own: only the directories that something is mounted on."""
    for name in _MOUNT_POINTS:
        os.makedirs(f"{folder}/{name}")


def _make_etc(folder: str) -> None:
    os.makedirs(f"{folder}/etc")
    os.symlink("/proc/self/mounts", f"{folder}/etc/mtab")
    for name, text in ETC.items():
        with open(f"{folder}/etc/{name}", "w") as file:
            file.write(text)
    for name in sorted(os.listdir("/etc")):
        source = f"/etc/{name}"
        if name in _ETC_FILES and os.path.isfile(source):
            trees.copy_file(source, f"{folder}/etc/{name}")
        elif name.startswith(_ETC_FOLDERS) and os.path.isdir(source):
            trees.copy_tree(source, f"{folder}/etc/{name}")


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
    sandbox sees, so that nobody can leave a message there with a lock or a watch.
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


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")

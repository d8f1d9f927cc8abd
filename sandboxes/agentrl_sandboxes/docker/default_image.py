"""An image made of this machine's own programs, for a daemon that can reach no registry."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from agentrl import ConfigError
from agentrl_sandboxes.docker.daemon import Daemon
from agentrl_sandboxes.inside import rootfs

REPOSITORY = "agentrl-sandbox"
_PROGRAMS = """
sh bash cat ls cp mv rm mkdir rmdir ln chmod touch echo printf head tail wc sort uniq cut tr tee od seq date env sleep
true false test expr basename dirname pwd id uname find xargs grep sed awk diff cmp tar gzip stat du df dd mkfifo mktemp
readlink realpath sha256sum md5sum base64 nproc timeout setsid kill ps split paste join comm yes whoami hostname nohup
""".split()  # noqa: SIM905 a list of 80 lines says no more
_FOLDERS = ("dev", "etc", "home/agent", "proc", "root", "run", "sys", "tmp", "usr", "var", "workspace", "opt", "mnt")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OMITTED = re.compile(r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|config-[^/]*)(/|$)")
_ETC = ("localtime", "mime.types", "protocols", "services", "os-release", "ld.so.conf")


def ensure(daemon: Daemon) -> str:
    """Name of the image; it is made first if the daemon does not have it. Raises ConfigError where it cannot be made."""
    from docker.errors import ImageNotFound

    name = f"{REPOSITORY}:{_version()}"
    try:
        daemon.call("look for an image", lambda api: api.inspect_image(name))
    except ImageNotFound:
        repository, _, tag = name.partition(":")
        data = archive()
        daemon.call(
            "import an image", lambda api: api.import_image_from_data(data, repository=repository, tag=tag, changes=[])
        )
    return name


def archive() -> bytes:
    """A root directory as a tar archive: a shell, the usual small programs, the system's Python and what they need."""
    python, library = _python()
    programs = {path for name in _PROGRAMS if (path := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"))}
    files = {os.path.realpath(path): path for path in programs} | {python: python}
    modules = list(library.rglob("*.so"))
    libraries = _libraries([*files, *map(str, modules)])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_folders(tar)
        added: set[str] = set()
        for path in sorted({*files, *files.values(), *libraries}):
            _add(tar, path, added)
        tar.add(library, arcname=_inside(library), filter=_without_tests)
        for name in ("python3", "python"):
            _link(tar, f"usr/local/bin/{name}", python)
    return buffer.getvalue()


def _python() -> tuple[str, Path]:
    """The system's Python and its library."""
    for candidate in ("/usr/bin/python3", getattr(sys, "_base_executable", sys.executable)):
        code = "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.dirname(os.__file__))"
        if os.path.exists(candidate):
            ended = subprocess.run([candidate, "-I", "-c", code], capture_output=True, text=True, check=False)
            if ended.returncode == 0:
                program, library = ended.stdout.split("\n")[:2]
                return program, Path(library)
    raise ConfigError("no Python to make an image of; name an image that has one with the setting `image`")


def _libraries(programs: list[str]) -> set[str]:
    """Shared libraries that these load, the loader included."""
    ended = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+\.so\S*) \(0x", ended.stdout))


def _add_folders(tar: tarfile.TarFile) -> None:
    for name in _FOLDERS:
        _folder(tar, name, 0o1777 if name == "tmp" else 0o755)
    _link(tar, "var/tmp", "/tmp")
    for name in _LINKS:
        if os.path.islink(f"/{name}"):
            _link(tar, name, os.readlink(f"/{name}"))
    for name, text in rootfs.ETC.items():
        _text(tar, f"etc/{name}", text.encode())
    for name in _ETC:
        if os.path.isfile(f"/etc/{name}"):
            _text(tar, f"etc/{name}", Path("/etc", name).read_bytes())
    _link(tar, "etc/mtab", "/proc/self/mounts")


def _add(tar: tarfile.TarFile, path: str, added: set[str]) -> None:
    """A file with its name, and what it leads to where it is a link."""
    name = _inside(path)
    if name in added:
        return
    added.add(name)
    if os.path.islink(path):
        target = os.path.realpath(path)
        _link(tar, name, target)
        _add(tar, target, added)
        return
    tar.add(path, arcname=name, filter=_plain)


def _inside(path: str | Path) -> str:
    """The name of a file of the host in the archive, with the links of the root directory followed."""
    text = str(path)
    for name in _LINKS:
        if text.startswith(f"/{name}/") and os.path.islink(f"/{name}"):
            text = f"/{os.readlink(f'/{name}').lstrip('/')}{text[len(name) + 1 :]}"
    return text.lstrip("/")


def _without_tests(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _OMITTED.search(info.name) else _plain(info)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's, and no program runs as somebody else."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mode &= 0o755
    return info


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _text(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


@functools.cache
def _version() -> str:
    """Changes with this file and with the Python that would go in."""
    program, library = _python()
    seed = f"{Path(__file__).read_text(encoding='utf-8')} {program} {os.stat(program).st_mtime_ns} {library}"
    return hashlib.sha256(seed.encode()).hexdigest()[:12]

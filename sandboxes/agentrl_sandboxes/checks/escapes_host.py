"""Attempts at files of the host: reading them, writing them, and getting the rights to."""

import contextlib
import os

from agentrl_sandboxes.checks.attempts import Attempt, folder_changed, program

READ, WRITE, SETUID = "read host files", "write outside the workspace", "setuid"

ATTEMPTS: list[Attempt] = [
    program(READ, "open a file of the host by its name", 'got_out(open(E["CANARY_FILE"]).read())'),
    program(
        READ,
        "find it through another process's root in /proc",
        """
for pid in (name for name in os.listdir("/proc") if name.isdigit()):
    try:
        got_out(open(f"/proc/{pid}/root{E['CANARY_FILE']}").read())
    except OSError:
        pass
""",
    ),
    program(
        READ,
        "climb out of the root with ..",
        """
os.chdir("/")
got_out(open("../" * 40 + E["CANARY_FILE"].lstrip("/")).read())
""",
    ),
    program(
        READ,
        "look for the host's environment variables in one's own",
        """
own = open("/proc/self/environ").read() + repr(dict(os.environ))
got_out("AGENTRL_CANARY_VARIABLE" in own)
""",
    ),
    program(
        READ,
        "look for the host's environment variables in the parent's",
        """
for pid in supervisors():
    try:
        got_out("AGENTRL_CANARY_VARIABLE" in open(f"/proc/{pid}/environ").read())
    except OSError:
        pass
""",
    ),
    program(
        READ,
        "use a descriptor that was left open",
        """
for fd in range(3, 1024):
    try:
        got_out("secret.txt" in os.readlink(f"/proc/self/fd/{fd}") or len(os.pread(fd, 32, 0)) == 32)
    except OSError:
        pass
""",
    ),
    program(
        READ,
        "read password hashes",
        'got_out("root:" in open("/etc/shadow").read())',
        control="root",
    ),
    program(
        READ,
        "read the disk below the file system",
        """
for name in os.listdir("/dev"):
    if name.startswith(("vd", "sd", "nvme0n", "xvd", "dm-")):
        try:
            got_out(os.read(os.open(f"/dev/{name}", os.O_RDONLY), 512))
        except OSError:
            pass
""",
        control="root",
        needs=lambda canaries: "" if _block_devices() else "no disk can be read in /dev of this machine",
    ),
    program(
        WRITE,
        "create a file in a folder of the host",
        'open(E["CANARY_FOLDER"] + "/planted", "w")',
        check=folder_changed,
    ),
    program(WRITE, "overwrite a file of the host", 'open(E["CANARY_FILE"], "w").write("mine")', check=folder_changed),
    program(
        WRITE,
        "move a file out of the workspace",
        """
open("mine", "w").write("x")
for move in (os.link, os.rename):
    try:
        move("mine", E["CANARY_FOLDER"] + "/moved")
    except OSError:
        pass
import shutil
shutil.copy("mine", E["CANARY_FOLDER"] + "/copied")
""",
        check=folder_changed,
    ),
    program(
        WRITE,
        "create files all over the system",
        """
for folder in ("/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/opt", "/var", "/root", "/home", "/srv", "/mnt", "/run",
               "/dev", "/proc", "/sys"):
    try:
        fd = os.open(f"{folder}/{E['CANARY_TOKEN']}", os.O_CREAT | os.O_WRONLY)
    except OSError:
        continue
    os.unlink(f"{folder}/{E['CANARY_TOKEN']}")
    got_out()
""",
        control="root",
    ),
    program(
        WRITE,
        "open a setting of the kernel for writing",
        """
for name in ("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "net/ipv4/ip_forward"):
    try:
        os.open(f"/proc/sys/{name}", os.O_WRONLY)
        got_out()
    except OSError:
        pass
""",
        control="root",
    ),
    program(WRITE, "write into the kernel's log", 'os.open("/dev/kmsg", os.O_WRONLY); got_out()', control="root"),
    program(
        WRITE,
        "make the node of a device",
        """
import stat
os.mknod("/tmp/" + E["CANARY_TOKEN"], stat.S_IFCHR | 0o666, os.makedev(1, 3))
os.unlink("/tmp/" + E["CANARY_TOKEN"])
got_out()
""",
        control="root",
    ),
    program(SETUID, "become root", "os.setresuid(0, 0, 0); got_out()", control="root"),
    program(
        SETUID,
        "run a setuid program and see whose rights it has",
        """
import stat, subprocess
for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp", "/bin/su", "/usr/bin/mount", "/bin/mount"):
    if not os.path.exists(path) or not os.stat(path).st_mode & stat.S_ISUID:
        continue
    child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            status = open(f"/proc/{child.pid}/status").read()
        except OSError:
            break
        if "Uid:" in status:
            got_out(status.split("Uid:")[1].split()[1] == "0")
        if "(zombie)" in status:
            break
""",
    ),
    program(
        SETUID,
        "hold a capability",
        """
status = open("/proc/self/status").read()
got_out(any(int(status.split(f"{name}:")[1].split()[0], 16) for name in ("CapEff", "CapPrm", "CapAmb", "CapInh")))
""",
        control="root",
    ),
    program(SETUID, "be where setuid files work (no_new_privs is off)", "got_out(libc.prctl(39, 0, 0, 0, 0) == 0)"),
]


def _block_devices() -> bool:
    """Whether root could read a disk here; a control group may forbid even that."""
    for name in os.listdir("/dev"):
        if name.startswith(("vd", "sd", "nvme0n", "xvd", "dm-")):
            with contextlib.suppress(OSError), open(f"/dev/{name}", "rb", buffering=0) as disk:
                return bool(disk.read(512))
    return False

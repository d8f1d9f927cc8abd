"""The writable files of a sandbox: layers in memory, stacked by overlayfs so that a snapshot copies nothing."""

from __future__ import annotations

import contextlib
import os

from agentrl_sandboxes.inside import files, kernel, trees
from agentrl_sandboxes.inside.messages import WRITABLE

_MAX_DEPTH = 40  # names of all layers have to fit into one page of mount options
_FLAGS = kernel.NOSUID | kernel.NODEV


class Workspace:
    """What programs may write to: frozen layers below, one that takes the changes on top.

    Paths are relative to the manager's folder, which is the current directory. `ids` own the files; None means that
    the caller's own ids do. Without `overlay` layers are copied instead of stacked.
    """

    def __init__(self, name: str, ids: tuple[int, int] | None, disk_bytes: int, overlay: bool, options: str) -> None:
        self.name, self._ids, self._disk_bytes = name, ids, disk_bytes
        self._overlay, self._options = overlay, options
        self._made = self._mounts = 0
        self.lowers: list[str] = []
        self.garbage: list[str] = []  # views and layers that nobody needs, to be freed in idle time
        self.upper = ""
        self.view = ""

    def mount(self, lowers: list[str]) -> None:
        """Show the frozen layers `lowers` (last on top) with a new, empty layer above them."""
        if self.upper not in lowers:
            self._discard(self.upper)
        self._discard(self.view)
        self._mounts += 1
        self.view = f"views/{self.name}.{self._mounts}"
        os.mkdir(self.view)
        used = sum(_used_bytes(layer) for layer in lowers) if self._overlay else 0
        self.upper, self.lowers = self.new_layer(max(self._disk_bytes - used, 2**20)), list(lowers)
        if self._overlay:
            if not lowers:
                self._make_folders(f"{self.upper}/u")
            below = ":".join(f"{layer}/u" for layer in reversed(lowers)) or "empty"
            data = f"lowerdir={below},upperdir={self.upper}/u,workdir={self.upper}/w{self._options}"
            kernel.mount("overlay", self.view, "overlay", _FLAGS, data)
            return
        if lowers:
            self._copy(f"{lowers[-1]}/u", f"{self.upper}/u")
        else:
            self._make_folders(f"{self.upper}/u")
        kernel.mount(f"{self.upper}/u", self.view, None, kernel.BIND)

    def unchanged(self) -> bool:
        """Whether nothing was written since the last freeze, so that the stack below says it all."""
        return self._overlay and bool(self.lowers) and not os.listdir(f"{self.upper}/u")

    def stackable(self) -> bool:
        """Whether a freeze copies nothing; then no supervisor may be alive meanwhile."""
        return self._overlay and len(self.lowers) < _MAX_DEPTH

    def freeze(self) -> list[str]:
        """Make everything written so far a frozen stack, and go on in a new layer above it, where that is `stackable`.

        Raises Refused where files have to be copied, and cannot be.
        """
        if self.stackable():
            stack = [*self.lowers, self.upper]
            self.mount(stack)
            return stack
        return [self.copy()]

    def copy(self) -> str:
        """A frozen layer with everything that is there now, made beside whatever runs. Raises Refused as above."""
        frozen = self.new_layer(self._disk_bytes)
        try:
            self._copy(self.view, f"{frozen}/u")
        except BaseException:
            self.garbage.append(frozen)
            raise
        return frozen

    def new_layer(self, size_bytes: int) -> str:
        """An empty file system in memory that holds at most `size_bytes`, and one file per 4 KiB of them."""
        self._made += 1
        layer = f"layers/{self.name}.{self._made}"
        os.mkdir(layer)
        nodes = max(size_bytes // 4096, 1024)
        kernel.mount("tmpfs", layer, "tmpfs", _FLAGS, f"size={size_bytes},nr_inodes={nodes},mode=755")
        os.mkdir(f"{layer}/u")
        os.mkdir(f"{layer}/w")
        if self._ids is not None:
            os.chown(f"{layer}/u", *self._ids)
        return layer

    def trees(self) -> list[tuple[int, str]]:
        """Detached mounts of all writable directories, for a supervisor to attach."""
        return [(kernel.clone_tree(f"{self.view}/{name}"), target) for name, target in WRITABLE.items()]

    def places(self, root: str) -> files.Places:
        """Where paths of the sandbox lead, seen from here; `root` is where its root directory is."""
        writable = {target: f"{self.view}/{name}" for name, target in WRITABLE.items()}
        return files.Places(writable["/workspace"], writable, root)

    def close(self) -> None:
        """The end of this view and of the top layer, which nobody else knows: both are left in `garbage`."""
        self._discard(self.upper)
        self._discard(self.view)
        self.upper = self.view = ""

    def _discard(self, mount_point: str) -> None:
        if mount_point:
            self.garbage.insert(0, mount_point)  # a view goes before the layers it shows

    def _make_folders(self, folder: str) -> None:
        for name in WRITABLE:
            os.mkdir(f"{folder}/{name}")
            os.chmod(f"{folder}/{name}", 0o755)
            if self._ids is not None:
                os.chown(f"{folder}/{name}", *self._ids)

    def _copy(self, source: str, target: str) -> None:
        with kernel.acting_as(self._ids):
            for name in WRITABLE:
                trees.copy_tree(f"{source}/{name}", f"{target}/{name}")


def drop(mount_point: str) -> None:
    """Free a view or a layer; one that is gone already is fine."""
    if os.path.isdir(mount_point):
        with contextlib.suppress(OSError):  # the mount itself may have failed
            kernel.unmount(mount_point)
        os.rmdir(mount_point)


def overlay_works(options: str) -> bool:
    """Whether overlayfs can be mounted here with its upper layer in memory, and can hide what is below."""
    os.mkdir("trial")
    kernel.mount("tmpfs", "trial", "tmpfs", _FLAGS, "mode=755")
    try:
        for name in ("l/d", "u", "w", "m"):
            os.makedirs(f"trial/{name}")
        data = f"lowerdir=trial/l,upperdir=trial/u,workdir=trial/w{options}"
        kernel.mount("overlay", "trial/m", "overlay", _FLAGS, data)
        os.rmdir("trial/m/d")
        os.mkdir("trial/m/d")  # needs the "opaque" attribute, which older kernels cannot store in a tmpfs
        kernel.unmount("trial/m")
    except OSError:
        return False
    finally:
        kernel.unmount("trial")
        os.rmdir("trial")
    return True


def _used_bytes(layer: str) -> int:
    info = os.statvfs(layer)
    return (info.f_blocks - info.f_bfree) * info.f_frsize

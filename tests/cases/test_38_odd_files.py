"""Case 38: elsewhere pipes hung whoever read them, links led out, and odd names broke the reading.

What is no regular file is refused by name, everything else comes out, whatever its name. It did so from the first form
on; below folders that go thousands deep, or that have no permissions left, reading counted as a fault of machinery.
"""

from __future__ import annotations

import pytest
from sandbox_support import needs_bubblewrap, provider

from agentrl import DataError

pytestmark = needs_bubblewrap

MAKE = r"""
mkdir -p t/é 't/a b'; printf x > 't/new
line'; printf y > t/-rf; printf z > "$(printf 't/bad\377')"
mkfifo t/pipe; ln -s /etc/passwd t/link; ln -s loop t/loop; ln -s .. t/up; ln -s /dev/zero t/zero
"""


def test_regular_files_come_out_and_everything_else_is_refused_by_name() -> None:
    with provider().create() as one, provider().create() as two:
        assert one.exec(MAKE).ok
        tree = one.get_tree("t")
        assert dict(tree.files) == {"t/new\nline": b"x", "t/-rf": b"y", "t/bad\udcff": b"z"}
        assert set(tree.refused) == {f"t/{name}" for name in ("pipe", "link", "loop", "up", "zero")}
        two.put_tree(tree.files)
        assert dict(two.get_tree("t").files) == dict(tree.files)


@pytest.mark.parametrize("path", ["a\0b", "../../etc/x", "/etc/x", "n" * 300, "\ud800"])
def test_a_path_that_cannot_be_is_refused_by_name(path: str) -> None:
    with provider().create() as sandbox:
        with pytest.raises(DataError, match="not written"):
            sandbox.put(path, b"")
        assert sandbox.exec("ls -A").stdout.text == ""


def test_a_file_without_permissions_and_a_folder_without_them_come_out_and_stay_so() -> None:
    with provider().create() as sandbox:
        sandbox.exec("mkdir -p d/e; printf q > d/e/f; printf s > secret; chmod 0 d/e/f d/e d secret .")
        assert dict(sandbox.get_tree(".").files) == {"d/e/f": b"q", "secret": b"s"}
        modes = "stat -c %a /workspace; chmod 755 /workspace /workspace/d; stat -c %a /workspace/d/e /workspace/secret"
        assert sandbox.exec(modes, cwd="/").stdout.text == "0\n0\n0\n"


def test_below_folders_that_go_too_deep_nothing_is_read_and_the_rest_is() -> None:
    with provider().create() as sandbox:
        sandbox.python(
            "import os\nopen('file', 'w').close()\nfor _ in range(5000):\n    os.mkdir('d')\n    os.chdir('d')"
        )
        tree = sandbox.get_tree(".")
        assert list(tree.files) == ["file"]
        assert set(tree.refused.values()) == {"deeper than 128 directories"}


def test_a_file_with_holes_is_copied_with_its_holes() -> None:
    with provider().create() as sandbox, sandbox.session("python") as session:
        session.run("f = open('holes', 'wb'); f.truncate(2**26); f.seek(2**25); f.write(b'x'); f.flush()")
        snapshot = sandbox.snapshot()  # a copy, because the session goes on
        sandbox.restore(snapshot)
        assert sandbox.exec("stat -c %s holes; du -k holes | cut -f 1").stdout.text == f"{2**26}\n4\n"

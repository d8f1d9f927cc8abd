"""How our own program gets into a container: through its standard input, as a zip archive of modules."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path

BOOT = (
    "import os,sys\n"
    "def exactly(n):\n"
    "    data=b''\n"
    "    while len(data)<n:\n"
    "        piece=os.read(0,n-len(data))\n"
    "        if not piece: os._exit(3)\n"
    "        data+=piece\n"
    "    return data\n"
    "if sys.version_info<(3,9): sys.exit('Python 3.9 or newer is needed in the image')\n"
    "path='/tmp/.agentrl.zip'\n"
    "with open(path,'wb') as file: file.write(exactly(int.from_bytes(exactly(8),'big')))\n"
    "sys.path.insert(0,path)\n"
    "from agentrl_sandboxes.inside import container_boot\n"
    "sys.path.remove(path)\n"
    "os.unlink(path)\n"
    "container_boot.main()\n"
)
"""What the first process runs: it reads that archive, and imports from it."""


def boot_message(preload: tuple[str, ...], profile: str) -> bytes:
    """What it reads: the archive, then settings; each with its length before it."""
    settings = json.dumps({"preload": preload, "profile": profile}).encode()
    return b"".join(len(blob).to_bytes(8, "big") + blob for blob in (_program(), settings))


@functools.cache
def _program() -> bytes:
    """Our supervisor, to be run in there: the modules of `inside`, zipped."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("agentrl_sandboxes/__init__.py", "")
        for path in sorted((Path(__file__).parents[1] / "inside").glob("*.py")):
            archive.write(path, f"agentrl_sandboxes/inside/{path.name}")
    return buffer.getvalue()

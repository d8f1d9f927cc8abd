"""Case 43: Windows line ends in a run file, blanks and letters beyond ASCII in paths, are as good as any other.

They were from the first form on, under a UTF-8 locale.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import lamps

import agentrl

RUN = """name = "lämps"
seed = 1
environment = { name = "lamps" }
model = { name = "table" }
policy = { name = "tabular" }

[[stages]]
name = "learn"
updates = 2
sampler = { name = "uniform", tasks = 4 }
collector = { name = "asynchronous", group_size = 2 }
credit = { name = "grpo" }
trainer = { name = "tabular", learning_rate = 0.3 }
"""


@pytest.mark.parametrize("folder", ["plain", "with blanks", "é and ü", "quote'd"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_run_file_is_read_whatever_its_line_ends_and_its_folder(tmp_path: Path, folder: str, line_end: str) -> None:
    file = tmp_path / folder / "rün file.toml"
    file.parent.mkdir()
    file.write_bytes(RUN.replace("\n", line_end).encode())
    host = agentrl.Host({"lamps": lamps})
    result = agentrl.train(file, [f"runs={file.parent}/rüns of it"], host=host)
    assert (result.folder / "summary.json").is_file()
    assert len(list((result.folder / "updates").iterdir())) == 2

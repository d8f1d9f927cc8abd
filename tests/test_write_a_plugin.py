"""The page on plugins is executed from its first block to its last, and has a short section for every kind."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_write_an_environment import BLOCK, Block, commands, execute

from agentrl import Spec, default_host
from agentrl.parts.kinds import KINDS

PAGE = (Path(__file__).parents[1] / "docs/write-a-plugin.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
LONGEST = 25


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """A module that the blocks are executed in, one after the other."""
    module = sys.modules["page"] = ModuleType("page")
    return module


def blocks(text: str) -> list[Block]:
    return [Block(*match.groups(default="")) for match in BLOCK.finditer(text)]


def run(block: Block, page: ModuleType) -> None:
    """Define what a block defines, or play a session and compare what it shows."""
    assert block.language == "python", f"a block in {block.language!r} that nobody executes"
    if not block.text.startswith(">>>"):
        exec(compile(block.text, "write-a-plugin.md", "exec"), vars(page))
        return
    test = doctest.DocTestParser().get_doctest(block.text, vars(page), "write-a-plugin.md", None, None)
    shown: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test, out=shown.append, clear_globs=False)
    vars(page).update(test.globs)
    assert not failed, "".join(shown)


def test_every_block_does_what_the_page_says(page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    obstacle = default_host().build(Spec("sandbox", "bubblewrap")).obstacle()
    for block in blocks(PAGE):
        if block.language == "console":
            for command, expected in commands(block.text):
                execute(command, expected, tmp_path, tmp_path / "site")
        elif not (obstacle and "with Eastern" in block.text):
            run(block, page)


def test_every_kind_has_a_section_and_no_other() -> None:
    assert list(SECTIONS) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_is_short_and_shows_a_part_and_how_to_try_it(kind: str) -> None:
    lines = [line for line in SECTIONS[kind].splitlines() if line.strip() and not line.startswith("```")]
    assert len(lines) <= LONGEST, len(lines)
    part, trial = blocks(SECTIONS[kind])
    assert '"""' in part.text, "a part says what it does"
    assert trial.text.startswith(">>>")


def test_a_page_that_promises_something_else_is_found_out(page: ModuleType) -> None:
    with pytest.raises(AssertionError, match="- 3"):
        run(Block("python", "", ">>> 1 + 1\n3\n"), page)

"""Documents that are generated or quoted from code are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import agentrl

ROOT = Path(__file__).parents[1]


def test_the_page_of_hooks_is_current() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import generate_hooks
    finally:
        sys.path.pop(0)
    assert (ROOT / "docs/hooks.md").read_text(encoding="utf-8") == generate_hooks.page(), "run `make docs`"


def test_every_public_name_has_a_docstring_and_can_be_imported() -> None:
    for name in agentrl.__all__:
        assert getattr(agentrl, name).__doc__ or not callable(getattr(agentrl, name)), name


def test_documents_name_only_files_that_exist() -> None:
    missing = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing


def test_the_command_line_documents_every_command() -> None:
    words = subprocess.run(
        [sys.executable, "-m", "agentrl.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in ("list", "show", "check", "play", "train", "eval", "examples"):
        assert f"\n  {command} " in words

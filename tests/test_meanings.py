"""Every setting says beside its parameter what it means: `Annotated[float, "discount of a turn"]`."""

from __future__ import annotations

import inspect

import pytest

from agentrl import Host
from agentrl.parts.kinds import KINDS
from agentrl.parts.settings import settings_of

WORLDS = """
    alfworld bfcl code corridor gymnasium household lab_aliased lab_decisive lab_feedback lab_hidden_rule lab_late
    lab_length_trap lab_noisy lab_pennies lab_planted lab_slow_good lab_stopping lab_three_tasks lab_two_routes mcp
    reasoning_gym scienceworld search textarena textworld tools webshop
"""
SANDBOXES = "bubblewrap docker local pool"
SILENT = {
    *(("environment", name) for name in WORLDS.split()),
    *(("sandbox", name) for name in SANDBOXES.split()),
}
"""Parts with a setting that does not say what it means. A list that only gets shorter."""

HOST = Host()
PARTS = [(kind, entry.name) for kind in KINDS for entry in HOST.registry(kind)]


def silent(kind: str, name: str) -> list[str]:
    part = HOST.part(kind, name)
    settings = settings_of(part, made=inspect.isclass(part) or KINDS[kind].made)
    return [setting.name for setting in settings.values() if not setting.meaning]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_setting_says_what_it_means(kind: str, name: str) -> None:
    wordless = silent(kind, name)
    if (kind, name) in SILENT:
        assert wordless, f"{kind} {name} is silent no more; remove it from the list"
    else:
        assert not wordless, f'{kind} {name}: give these a meaning, Annotated[type, "what it is"]: {wordless}'


def test_every_listed_part_is_there() -> None:
    assert set(PARTS) >= SILENT


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_meaning_is_one_plain_phrase(kind: str, name: str) -> None:
    part = HOST.part(kind, name)
    for setting in settings_of(part, made=inspect.isclass(part) or KINDS[kind].made).values():
        assert not setting.meaning.endswith("."), f"{kind} {name}.{setting.name}"
        assert len(setting.meaning) <= 200, f"{kind} {name}.{setting.name}"

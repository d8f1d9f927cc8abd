"""Files of tests that want something else."""

from __future__ import annotations

import pytest

from agentrl_envs.code.controls import with_other_wishes


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("assert f(1) == 2", "assert f(1) == 3"),
        ("assert 2.5 == f(1), 'words'", "assert 3.5 == f(1), 'words'"),
        ("assert f('a') == -1", "assert f('a') == 0"),
        ("assert f() == ''", "assert f() == '0'"),
        ("assert f() == b'ab'", "assert f() == b'abb'"),
        ("assert f() == True", "assert f() == False"),
        ("assert f() == None", "assert f() == True"),
        ("assert f() == []", "assert f() == [0]"),
        ("assert f() == (1, 'b')", "assert f() == (1, 'b', 'b')"),
        ("assert f() == {'a': 1}", "assert f() == {'a': 1, 'other': 0}"),
        ("assert f() == {1}", "assert f() == {1, 'other'}"),
        ("self.assertEqual(f(1), 2, 'words')", "self.assertEqual(f(1), 3, 'words')"),
        ("self.assertListEqual([1], f(1))", "self.assertListEqual([1, 1], f(1))"),
    ],
)
def test_a_literal_that_something_is_compared_with_is_changed(line: str, changed: str) -> None:
    found = with_other_wishes({"test_a.py": f"def test(self):\n    {line}\n".encode()})["test_a.py"].decode()
    alternatives = [changed, changed.replace("{1, 'other'}", "{'other', 1}")]
    assert found.splitlines()[1].strip() in alternatives


@pytest.mark.parametrize(
    "line",
    [
        "assert f(1) == g(1)",
        "assert 1 == 1",
        "assert f(1)",
        "assert f(1) < 2",
        "assertEqual(f, 1)",
        "x = f == 1",
        "x =",
    ],
)
def test_what_compares_with_no_literal_is_left_out(line: str) -> None:
    assert with_other_wishes({"test_a.py": f"def test(self):\n    {line}\n".encode(), "a.txt": b"assert f == 1"}) == {}

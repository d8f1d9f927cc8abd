"""Every attempt to escape succeeds where nothing stops it, and fails in the sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from sandbox_support import ROOT, needs_bubblewrap, provider

from agentrl import Sandbox, SandboxSpec
from agentrl_sandboxes.checks.attempts import Attempt, Target
from agentrl_sandboxes.checks.canaries import Canaries
from agentrl_sandboxes.checks.kit import ATTEMPTS, check_provider, reason_stated, succeeds_unprotected
from agentrl_sandboxes.checks.naive import Naive
from agentrl_sandboxes.supervised.channels import NAMELESS, NAMESPACES, open_channels

KINDS = {
    "read host files", "see host processes", "reach any network", "ptrace", "mount", "new user namespaces", "io_uring",
    "write outside the workspace", "setuid", "fork bomb", "memory bomb", "disk bomb", "output flood of 1 GB",
    "ignore signals", "setsid children that outlive the call", "fake exit codes in the output",
    "symlink and /proc tricks on put/get", "tamper with the grader", "talk to another sandbox", "reach into a later run",
}  # fmt: skip


@pytest.fixture(scope="module")
def canaries() -> Iterator[Canaries]:
    with Canaries() as made:
        yield made


def named(attempt: Attempt) -> str:
    return f"{attempt.kind}: {attempt.name}"


@needs_bubblewrap
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=named)
def test_bubblewrap_holds(attempt: Attempt, canaries: Canaries) -> None:
    target = Target(provider(), canaries)
    try:
        assert not attempt.run(target) or reason_stated(attempt, target), "it got out"
    finally:
        target.clear()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=named)
def test_the_attempt_succeeds_where_nothing_stops_it(attempt: Attempt, canaries: Canaries) -> None:
    try:
        assert succeeds_unprotected(attempt, canaries), "this attempt cannot succeed, so it shows nothing"
    except PermissionError as reason:
        pytest.skip(str(reason))


def test_every_class_has_two_attempts_or_more() -> None:
    count = Counter(attempt.kind for attempt in ATTEMPTS)
    assert set(count) == KINDS
    assert min(count.values()) >= 2
    assert len(ATTEMPTS) >= 40


def test_a_sandbox_that_holds_nothing_fails_the_kit_unless_it_says_so() -> None:
    class Boasting(Naive):
        """Claims what it does not do."""

        def create(self, spec=None):  # type: ignore[no-untyped-def]
            made = super().create(spec)
            made.grade = lambda: {"level": "namespaces"}  # type: ignore[method-assign]
            return made

    chosen = [a for a in ATTEMPTS if a.kind in ("read host files", "new user namespaces") and a.control == "naive"]
    for claims, verdict in ((Boasting(), "failed"), (Naive(), "skipped")):
        report = check_provider(claims, attempts=chosen[:3], contract=False)
        made, *held = report.results
        assert made.verdict == "passed"
        assert {result.verdict for result in held} == {verdict}


def test_every_channel_that_a_grade_may_name_has_attempts_and_is_in_the_documentation() -> None:
    channels = open_channels("default", own_devices=False, runs_apart=False)
    assert {attempt.channel for attempt in ATTEMPTS} == {"", *channels}
    page = (ROOT / "docs/sandboxes.md").read_text(encoding="utf-8")
    assert [channel for channel in channels if f"| {channel} |" not in page] == []
    assert len(open_channels("strict", own_devices=True, runs_apart=True)) == 1


@needs_bubblewrap
def test_the_strict_profile_closes_what_locks_leave_open(canaries: Canaries) -> None:
    class Strict(Target):
        def sandbox(self, **limits: float) -> Sandbox:
            return self.provider.create(SandboxSpec(profile="strict"))

    for attempt in [each for each in ATTEMPTS if each.channel in (NAMELESS, NAMESPACES)]:
        assert attempt.run(Target(provider(), canaries)), "it is closed by default too: say so"
        assert not attempt.run(Strict(provider(), canaries))

"""The distribution: every plugin file has its entry point, the list is sorted, the installation is current."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = [ROOT / "envs/agentrl_envs", ROOT / "plugins/agentrl_plugins", ROOT / "sandboxes/agentrl_sandboxes"]


def declared() -> dict[str, str]:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(tables["project"]["entry-points"]["agentrl"])


def test_every_file_with_a_hook_has_an_entry_point() -> None:
    missing = []
    for room in ROOMS:
        for path in room.rglob("*.py"):
            if "@agentrl.hookimpl" not in path.read_text(encoding="utf-8"):
                continue
            module = ".".join(path.relative_to(room.parent).with_suffix("").parts).removesuffix(".__init__")
            if module not in declared().values():
                missing.append(f'"KIND.{path.stem}" = "{module}"')
    assert not missing, "add to [project.entry-points.agentrl] in pyproject.toml: " + "; ".join(missing)


def test_entry_points_are_sorted() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = [
        line.split("=")[0].strip().strip('"')
        for line in text.split("[project.entry-points.agentrl]")[1].split("\n[")[0].splitlines()
        if "=" in line
    ]
    assert names == sorted(names)


def test_the_installation_is_current() -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group="agentrl")
        if point.dist and point.dist.name == "agentrl"
    }
    assert installed == declared(), "the installation is stale: run `pip install --no-deps -e .`"


def test_constraints_pin_every_direct_dependency() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *tables["dependencies"],
        *(r for name in ("torch", "plot", "dev") for r in tables["optional-dependencies"][name]),
    ]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    names = {requirement.split(">")[0].split("[")[0].strip().lower() for requirement in wanted}
    assert names <= pinned

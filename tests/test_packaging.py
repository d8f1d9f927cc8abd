"""The distribution: its name, what a wheel and an sdist carry, its entry points, its installation."""

from __future__ import annotations

import email.message
import email.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from plugin_install import environ

from agentrl.data.installation import DISTRIBUTION, remedy

ROOT = Path(__file__).parents[1]
ROOMS = [ROOT / "envs/agentrl_envs", ROOT / "plugins/agentrl_plugins", ROOT / "sandboxes/agentrl_sandboxes"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?://|#)([^()\s#]+)[^()\s]*\)")
"""A link into the repository."""
BY_NAME = re.compile(r"pip install(?:\s+-{1,2}[\w=-]+)*\s+[\"'`]?agentrl(?:[-_]platform)?(?![\w./-])")
OF_THE_NAMESAKE = re.compile(r"agentrl\[|dependencies = \[\"agentrl\"")
VERSIONS = ("3.11", "3.12", "3.13")


def declared() -> dict[str, str]:
    return dict(PROJECT["project"]["entry-points"]["agentrl"])


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
        if point.dist and point.dist.name == DISTRIBUTION
    }
    assert installed == declared(), "the installation is stale: run `pip install --no-deps -e .`"


def test_constraints_pin_every_direct_dependency() -> None:
    tables = PROJECT["project"]
    wanted = [
        *tables["dependencies"],
        *(r for name in ("torch", "plot", "dev") for r in tables["optional-dependencies"][name]),
    ]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    names = {requirement.split(">")[0].split("[")[0].strip().lower() for requirement in wanted}
    assert names <= pinned


# The name. `agentrl` on package indexes is another project's.


def test_nothing_tells_anybody_to_install_a_name_from_an_index() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    wrong = []
    for path in texts():
        text = path.read_text(encoding="utf-8")
        wrong += [f"{path.relative_to(ROOT)}: {found[0]}" for found in BY_NAME.finditer(text)]
        wrong += [f"{path.relative_to(ROOT)}: {found[0]}" for found in OF_THE_NAMESAKE.finditer(text)]
    assert wrong == []


@pytest.mark.parametrize(
    "line", ["pip install agentrl", "pip install -U 'agentrl[torch]'", "run `pip install agentrl-platform`"]
)
def test_a_line_that_installs_by_name_is_seen(line: str) -> None:
    assert BY_NAME.search(line)
    assert not BY_NAME.search("pip install './dist/agentrl_platform-0.1.0-py3-none-any.whl[torch]' ./agentrl-world")


def texts() -> list[Path]:
    """Every text of the repository but this one."""
    folders = ("agentrl", "benchmarks", "docs", "envs", "examples", "plugins", "sandboxes", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    kinds = (".md", ".py", ".pyi", ".sh", ".toml", ".txt")
    return [p for p in paths if (p.suffix in kinds or p.name == "Makefile") and p.is_file() and p != Path(__file__)]


@pytest.mark.parametrize(
    ("record", "entry", "says"),
    [
        ("agentrl/__init__.py,,\n", "", "agentrl 1.1 in .* is another project's"),
        (
            "agentrl.pth,,\n",
            "[agentrl]\ncontext.full = agentrl_plugins.contexts.full\n",
            "agentrl 1.1 in .* is this project under its former name",
        ),
        ("dqn/__init__.py,,\n", "", ""),
    ],
    ids=["another project", "this one before", "no file in common"],
)
def test_another_distribution_of_our_name_is_said_once(tmp_path: Path, record: str, entry: str, says: str) -> None:
    stranger(tmp_path, record, entry)
    told = run(tmp_path, ["-m", "agentrl.cli", "list", "credit"], tmp_path).stderr
    assert len(told.splitlines()) == bool(says)
    assert re.match(says, told)
    code = "import agentrl; agentrl.Host(); agentrl.Host()"
    assert run(tmp_path, ["-c", code], tmp_path).stderr == told


def test_where_the_other_package_hides_ours_the_command_says_so(tmp_path: Path) -> None:
    stranger(tmp_path, "agentrl/__init__.py,,\n", "")
    (tmp_path / "agentrl").mkdir()
    (tmp_path / "agentrl/__init__.py").write_text("import a_library_for_games\n")
    (tmp_path / "agentrl_command.py").symlink_to(ROOT / "agentrl_command.py")
    done = run(tmp_path, ["-c", "import agentrl_command; agentrl_command.main()", "list"], tmp_path, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "agentrl/__init__.py") in done.stderr
    assert "agentrl 1.1 is another project's" in done.stderr
    assert "pip uninstall agentrl" in done.stderr


@pytest.mark.parametrize(
    ("library", "extra"),
    [("torch", "torch"), ("transformers.utils", "torch"), ("matplotlib", "plot"), ("bm25s", "search"), ("mcp", "mcp")],
)
def test_a_library_that_is_missing_is_named_with_its_extra(library: str, extra: str) -> None:
    said = remedy(ModuleNotFoundError(f"No module named {library!r}", name=library))
    assert said.startswith(f". Install agentrl-platform[{extra}]: in its clone `pip install -e '.[{extra}]'`")
    for other in (ModuleNotFoundError("No module named 'games'", name="games"), ImportError(library), OSError()):
        assert remedy(other) == ""


def test_every_extra_that_a_message_names_is_one_of_ours() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    text = "".join(path.read_text(encoding="utf-8") for room in ROOMS for path in room.rglob("*.py"))
    named = set(re.findall(r"how_to_install\(['\"](\w+)['\"]\)|\bextra=['\"](\w+)['\"]", text))
    assert len(named) > 10
    assert {one or other for one, other in named} <= extras


def stranger(site: Path, record: str, entry: str) -> None:
    """A distribution `agentrl` as pip would lay it."""
    info = site / "agentrl-1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: agentrl\nVersion: 1.1\n")
    (info / "RECORD").write_text(record)
    (info / "entry_points.txt").write_text(entry)


def run(site: Path, arguments: list[str], folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *arguments]
    return subprocess.run(line, env=environ(site), cwd=folder, capture_output=True, text=True, check=check, timeout=120)


# What is built.


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the build backend."""
    folder = tmp_path_factory.mktemp("tools")
    line = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *PROJECT["build-system"]["requires"]]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"the build backend cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module")
def dist(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist."""
    folder = tmp_path_factory.mktemp("dist")
    env = {**os.environ, "PYTHONPATH": str(tools)}
    line = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(line, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)
    return folder


def about(dist: Path) -> email.message.Message:
    """The metadata of the wheel."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(wheel.read(path).decode())


def test_a_wheel_has_the_packages_the_command_and_the_run_files(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("agentrl_platform-*-py3-none-any.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    parents = [(ROOT, ROOT / "agentrl"), *((room.parent, room) for room in ROOMS)]
    files = {str(path.relative_to(above)) for above, package in parents for path in sources(package)}
    runs = {f"agentrl_examples/{path.relative_to(ROOT / 'examples')}" for path in sources(ROOT / "examples")}
    assert names == files | runs | {"agentrl_command.py"}


def sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_an_sdist_has_every_file_that_the_readme_links_to(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"hatch_build.py", "Makefile", "constraints.txt", "tests/test_readme.py"} <= names
    missing = [
        link for link in LINK.findall(README) if link not in names and not any(n.startswith(link) for n in names)
    ]
    assert len(LINK.findall(README)) > 10
    assert missing == []


def test_the_description_has_links_that_work_on_a_package_index(dist: Path, tools: Path) -> None:
    text = str(about(dist).get_payload())
    assert LINK.findall(text) == []
    assert "# agentrl" in text
    assert "`docs/tour.md`" in text
    done = run(tools, ["-m", "doctest", str(ROOT / "hatch_build.py")], ROOT)  # with the address of a repository
    assert done.stdout == ""


def test_the_metadata_says_what_it_runs_on(dist: Path) -> None:
    metadata = about(dist)
    assert metadata["Name"] == DISTRIBUTION
    assert metadata["License-Expression"] == "Apache-2.0"
    classifiers = metadata.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: {version}" for version in VERSIONS} <= set(classifiers)
    assert metadata["Requires-Python"] == f">={VERSIONS[0]}"
    assert all(url.partition(", ")[2].startswith("https://") for url in metadata.get_all("Project-URL", []))


# What was built, in an environment of its own for each interpreter, without torch: `make test-wheel`.


def interpreter(version: str) -> str:
    """Its path, on PATH or of pyenv. Skips where there is none that runs, and names it."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in (shutil.which(name), *map(str, pyenv.glob(f"versions/{version}.*/bin/{name}"))):
        line = [path or "", "-c", "import venv, sys; print('%d.%d' % sys.version_info[:2])"]
        if path and subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() == version:
            return path
    pytest.skip(f"Python {version} is not installed here")


@pytest.mark.heavy
@pytest.mark.parametrize("version", VERSIONS)
def test_an_installed_wheel_works_without_torch(version: str, dist: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run([interpreter(version), "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--only-binary",
        ":all:",
        "--no-compile",
    ]
    done = subprocess.run([*install, str(next(dist.glob("*.whl")))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def agentrl(*words: str, status: int = 0) -> str:
        line = [str(python.with_name("agentrl")), *words]
        done = subprocess.run(
            line, env=env | {"XDG_CACHE_HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert subprocess.run([str(python), "-c", "import torch"], capture_output=True, check=False).returncode == 1
    assert PROJECT["project"]["version"] in agentrl("--version")
    listed = json.loads(agentrl("list", "--json"))
    assert listed["broken"] == {}
    assert {"corridor", "household"} <= set(listed["parts"]["environment"])
    assert "household_large.toml" in agentrl("examples")
    agentrl("examples", "copy")
    agentrl("train", "examples/corridor.toml", "stages.learn.updates=2", "evaluation.tasks=8")
    assert "solved" in agentrl("play", "corridor", "--policy", "expert")
    said = agentrl("train", "examples/household.toml", "--check", status=2)
    assert "Install agentrl-platform[torch]: in its clone `pip install -e '.[torch]'`" in said

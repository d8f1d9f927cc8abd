"""The run folder: complete or not there, whatever happens to the process, the disk or the files."""

import contextlib
import json
import logging
import multiprocessing
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import threading
import tomllib

import numpy as np
import pytest
from differences import first_difference
from record_worker import checkpoint_of, commit, commit_until_killed, metrics_of, random_trajectories, state_of

from agentrl.data.record import Run, manifest_of
from agentrl.errors import DataError, RecordError

CONFIG = {"name": "run", "stages": [{"name": "rl", "updates": 3}]}


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "runs", "run", CONFIG, manifest_of(seed=1))
    yield run
    run.close()


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def drafts(run):
    return list((run.folder / ".tmp").glob("*"))


def test_a_new_run_says_what_it_is(run):
    assert tomllib.loads((run.folder / "run.toml").read_text()) == CONFIG
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["seed"] == 1
    assert manifest["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"agentrl-platform", "numpy"} <= set(manifest["versions"])
    assert Run.open(run.folder).config == CONFIG


def test_a_run_never_overwrites_another(run):
    again = [Run.create(run.folder.parent, "run", CONFIG, {}).folder.name for _ in range(2)]
    assert again == ["run-2", "run-3"]


def test_many_at_once_each_get_a_folder_of_their_own(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(Run.create(tmp_path, "r", CONFIG, {}).folder)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 12
    assert all(Run.open(folder).config == CONFIG for folder in made)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "/abs"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(RecordError, match="cannot name a run"):
        Run.create(tmp_path, name, CONFIG, {})


def test_a_configuration_that_toml_cannot_hold_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(RecordError, match=r"run\.toml cannot hold"):
        Run.create(tmp_path, "run", {"seed": None}, {})
    assert not list(tmp_path.iterdir())


def test_opening_something_else_is_a_clear_error(tmp_path):
    with pytest.raises(RecordError, match="does not exist"):
        Run.open(tmp_path / "none")
    with pytest.raises(RecordError, match=r"is not a run folder: run\.toml"):
        Run.open(tmp_path)


def test_a_commit_reads_back(run):
    commit(run, 0)
    commit(run, 1, checkpoint=False)
    first, second = Run.open(run.folder).commits()
    assert (first.update, first.stage, first.has_checkpoint, second.has_checkpoint) == (0, "rl", True, False)
    assert first.metrics == metrics_of(0)
    assert first.state == state_of(0)
    assert first_difference(first.trajectories(), random_trajectories(0)) == ""
    assert len(first.advantages()) == len(random_trajectories(0))
    assert (first.checkpoint / "model" / "weights").read_bytes() == checkpoint_of(0)
    with pytest.raises(RecordError, match="no checkpoint"):
        _ = second.checkpoint
    assert not drafts(run)


def test_metrics_jsonl_has_one_line_per_update(run):
    for update in range(3):
        commit(run, update)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"update": update, "stage": "rl"} | metrics_of(update) for update in range(3)]


def test_metrics_that_are_not_finite_become_null_and_read_back_as_nan(run):
    metrics = {"loss": float("nan"), "kl": np.float32(np.inf), "count": np.int64(3)}
    found = run.commit(0, "rl", trajectories=[], advantages=[], metrics=metrics, state={}, write_checkpoint=None)
    assert json.loads((found.folder / "metrics.json").read_text()) == {"loss": None, "kl": None, "count": 3.0}
    assert np.isnan(found.metrics["kl"])


def test_an_update_is_never_committed_twice(run):
    commit(run, 0)
    before = tree(run.folder)
    with pytest.raises(RecordError, match="never overwritten"):
        commit(run, 0)
    assert tree(run.folder) == before


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"sampler": {"seen": (1, 2)}}, "state.sampler.seen is a tuple"),
        ({"sampler": {3: 0.5}}, "state.sampler has the key 3"),
        ({"list": [1, np.arange(2)]}, r"state.list\[1\] is a ndarray"),
        ({"count": np.int64(1)}, "state.count is a int64"),
    ],
)
def test_state_that_would_not_read_back_is_refused_when_it_is_written(run, state, where):
    with pytest.raises(RecordError, match=where):
        run.commit(0, "rl", trajectories=[], advantages=[], metrics={}, state=state, write_checkpoint=None)
    assert run.commits() == []


def test_trajectories_that_disagree_with_advantages_leave_no_trace(run):
    with pytest.raises(DataError):
        run.commit(
            0, "rl", trajectories=random_trajectories(0), advantages=[], metrics={}, state={}, write_checkpoint=None
        )
    assert run.commits() == []
    assert not drafts(run)


def test_recovering_a_fresh_run_starts_from_the_beginning(run):
    assert run.recover() is None


def test_recovering_goes_back_to_the_last_checkpoint_and_puts_what_is_newer_aside(run):
    commit(run, 0)
    expected = tree(run.folder)
    newer = {}
    for update in (1, 2):
        commit(run, update, checkpoint=False)
        newer |= {
            f"replaced/{update:06d}/{name}": data for name, data in tree(run.folder / f"updates/{update:06d}").items()
        }
    for name in ("draft", "000001"):  # a commit and an earlier recovery that were cut short
        (run.folder / ".tmp" / name).mkdir()
        (run.folder / ".tmp" / name / "half").write_text("written")
    last = run.recover()
    assert last is not None
    assert last.update == 0
    found = tree(run.folder)
    assert {name: data for name, data in found.items() if name != "lock"} == {
        name: data for name, data in (expected | newer).items() if name != "lock"
    }


def test_without_any_checkpoint_a_run_begins_again(run):
    commit(run, 0, checkpoint=False)
    assert run.recover() is None
    assert run.commits() == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


DAMAGES = {
    "flip": flip,
    "truncate": truncate,
    "delete": pathlib.Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
}
FILES = ["checkpoint/model/weights", "checkpoint/optimiser", "state.json", "commit.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_checkpoint_falls_back_to_an_older_one_and_keeps_the_rest(run, caplog, file, damage):
    commit(run, 0)
    commit(run, 1, checkpoint=False)
    commit(run, 2)
    DAMAGES[damage](run.folder / "updates" / "000002" / file)
    with caplog.at_level(logging.WARNING):
        last = run.recover()
    assert last is not None
    assert last.update == 0
    assert str(pathlib.Path("000002") / file) in caplog.text or file == "commit.json"
    assert "Going on after update 0" in caplog.text
    assert [found.update for found in run.commits()] == [0]
    assert sorted(path.name for path in (run.folder / "replaced").iterdir()) == ["000001", "000002"]
    commit(run, 1)  # and the run goes on
    assert [found.update for found in run.commits()] == [0, 1]


@pytest.mark.parametrize("damage", DAMAGES)
def test_when_every_checkpoint_is_damaged_nothing_is_deleted_and_the_file_is_named(run, damage):
    commit(run, 0)
    commit(run, 1, checkpoint=False)
    DAMAGES[damage](run.folder / "updates/000000/checkpoint/model/weights")
    before = tree(run.folder)
    with pytest.raises(RecordError, match=r"000000/checkpoint/model/weights .*start again: agentrl train .*run\.toml"):
        run.recover()
    assert tree(run.folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"update": "000001"},
        {"update": True},
        {"stage": 5},
        {"has_checkpoint": "no"},
        {"files": [1]},
        {"files": {}},
        {"files": {"state.json": {"bytes": "a", "sha256": 1}}},
        {"schema_version": 9},
        {"later": 1},
    ],
)
def test_a_record_of_other_types_is_damaged(run, caplog, change):
    commit(run, 0)
    commit(run, 1)
    path = run.folder / "updates/000001/commit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert [found.update for found in run.commits()] == [0]
    assert f"{path} is damaged" in caplog.text
    last = run.recover()
    assert last is not None
    assert last.update == 0


@pytest.mark.parametrize("name", ["metrics", "state"])
@pytest.mark.parametrize("text", ["[]", "null", "5"])
def test_a_file_that_holds_no_object_is_damaged(run, name, text):
    commit(run, 0)
    (run.folder / f"updates/000000/{name}.json").write_text(text)
    with pytest.raises(RecordError, match=f"{name}.json is damaged"):
        getattr(run.commits()[0], name)


def test_a_folder_of_another_name_is_no_update(run):
    commit(run, 0)
    (run.folder / "updates/²").mkdir()
    assert [found.update for found in run.commits()] == [0]


def test_a_state_that_contains_itself_is_refused(run):
    state: dict = {}
    state["again"] = state
    with pytest.raises(RecordError, match="contains itself"):
        run.commit(0, "rl", trajectories=[], advantages=[], metrics={}, state=state, write_checkpoint=None)


def test_a_run_goes_on_from_a_checkpoint_whose_trajectories_are_lost(run):
    commit(run, 0)
    truncate(run.folder / "updates/000000/trajectories.parquet")
    last = run.recover()
    assert last is not None
    assert last.update == 0


def test_a_half_written_metrics_file_is_derived_anew(run):
    commit(run, 0)
    commit(run, 1)
    expected = (run.folder / "metrics.jsonl").read_text()
    (run.folder / "metrics.jsonl").write_text(expected[:-10])
    run.recover()
    assert (run.folder / "metrics.jsonl").read_text() == expected


def test_pruning_deletes_other_checkpoints_but_no_trajectories(run):
    for update in range(4):
        commit(run, update)
    run.prune({1, 3})
    commits = Run.open(run.folder).commits()
    assert [found.has_checkpoint for found in commits] == [False, True, False, True]
    assert not (run.folder / "updates/000000/checkpoint").exists()
    assert [found.damage() for found in commits] == [""] * 4
    assert first_difference(commits[0].trajectories(), random_trajectories(0)) == ""


def test_of_trajectories_the_newest_updates_keep_theirs(run):
    for update in range(4):
        commit(run, update, checkpoint=update == 0)
    run.prune_trajectories(2)
    kept = [(commit.folder / "trajectories.parquet").exists() for commit in run.commits()]
    assert kept == [False, False, True, True]
    commits = Run.open(run.folder).commits()
    assert [found.damage() for found in commits] == [""] * 4
    assert commits[0].metrics == metrics_of(0)
    assert commits[0].has_checkpoint


def test_a_pruning_of_trajectories_that_was_cut_short_is_finished(run):
    commit(run, 0)
    commit(run, 1)
    table = run.folder / "updates/000000/trajectories.parquet"
    shutil.copy(table, run.folder / "kept")
    run.prune_trajectories(1)
    shutil.move(run.folder / "kept", table)
    run.recover()
    assert not table.exists()
    assert [found.damage() for found in run.commits()] == [""] * 2


def test_pruning_never_takes_the_newest_checkpoint(run):
    commit(run, 0)
    commit(run, 1)
    commit(run, 2, checkpoint=False)
    run.prune({2})
    assert [found.has_checkpoint for found in run.commits()] == [False, True, False]


def test_a_pruning_that_was_cut_short_is_finished(run):
    commit(run, 0)
    commit(run, 1)
    shutil.copytree(run.folder / "updates/000000/checkpoint", run.folder / "kept")
    run.prune({1})
    shutil.move(run.folder / "kept", run.folder / "updates/000000/checkpoint")
    run.recover()
    assert not (run.folder / "updates/000000/checkpoint").exists()


def test_small_files_and_folders_are_replaced_whole(run):
    run.write_json("evaluations/000001.json", {"success": np.float64(0.5), "low": float("-inf")})
    run.write_json("evaluations/000001.json", {"success": 0.75})
    assert json.loads((run.folder / "evaluations/000001.json").read_text()) == {"success": 0.75}
    for text in ("one", "two"):

        def write(folder, text=text):
            folder.mkdir()
            (folder / text).write_text(text)

        run.write_folder("model", write)
    kept = tree(run.folder / "model")
    assert kept.pop("checksums.json")
    assert kept == {"two": b"two"}
    assert run.model_folder() == run.folder / "model"
    assert not drafts(run)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "updates/000000/x"])
def test_files_stay_inside_the_run_and_outside_its_updates(run, name):
    with pytest.raises(RecordError, match="not a place"):
        run.write_bytes(name, b"")


def test_the_newest_checkpoint_is_the_model_of_an_unfinished_run(run):
    with pytest.raises(RecordError, match="no model yet"):
        run.model_folder()
    commit(run, 0)
    commit(run, 1, checkpoint=False)
    assert run.model_folder() == run.folder / "updates/000000/checkpoint/model"


def test_a_checkpoint_writer_that_fails_leaves_no_trace(run):
    def write(folder):
        (folder / "half").write_text("x")
        raise ValueError("the optimiser cannot be saved")

    with pytest.raises(RecordError, match="ValueError: the optimiser cannot be saved"):
        run.commit(0, "rl", trajectories=[], advantages=[], metrics={}, state={}, write_checkpoint=write)
    assert run.commits() == []
    assert not drafts(run)


WRITE = """
import sys
from pathlib import Path
from agentrl.data.record import Run
run = Run.open(Path(sys.argv[1]))
run.write_json("x.json", {})
print("wrote", flush=True)
sys.stdin.read()
"""


def test_only_one_process_writes_a_run_and_a_killed_one_frees_it(run):
    other = subprocess.Popen([sys.executable, "-c", WRITE, run.folder], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"wrote\n"
        with pytest.raises(RecordError, match=f"is being written by process {other.pid} on"), run.locked():
            pass
        assert run.commits() == []  # reading is free
    finally:
        other.kill()
        other.communicate()
    commit(run, 0)
    with pytest.raises(RecordError, match="is being written by"):
        Run.open(run.folder).write_json("x.json", {})
    run.close()
    run.close()
    with Run.open(run.folder).locked() as second:
        second.write_json("x.json", {})


def test_a_forked_child_does_not_hold_the_lock_of_its_dead_parent(run):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        run.write_json("x.json", {})
        if os.fork() == 0:
            os.close(writer)
            os.read(reader, 1)  # lives until the test ends
        os._exit(0)
    os.waitpid(parent, 0)
    try:
        run.write_json("x.json", {})
    finally:
        os.close(writer)
        os.close(reader)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs rights that are missing here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def big_bytes(folder):
    (folder / "weights").write_bytes(bytes(2**21))


def big_safetensors(folder):
    numpy_files = pytest.importorskip("safetensors.numpy")
    numpy_files.save_file({"weights": np.zeros(2**19, np.float32)}, folder / "weights.safetensors")


@pytest.mark.parametrize("write", [big_bytes, big_safetensors])
def test_a_full_disk_while_checkpointing_leaves_the_last_commit_intact(small_disk, write):
    run = Run.create(small_disk, "run", CONFIG, {})
    commit(run, 0)
    before = tree(run.folder)
    with pytest.raises(RecordError, match=r"committing update 1 .*[Nn]o space left on device"):
        run.commit(1, "rl", trajectories=[], advantages=[], metrics={}, state={}, write_checkpoint=write)
    assert tree(run.folder) == before
    last = run.recover()
    assert last is not None
    assert last.damage() == ""
    commit(run, 1)  # there is room again
    run.close()


def test_a_disk_that_fills_up_with_trajectories_leaves_the_last_commit_intact(small_disk):
    run = Run.create(small_disk, "run", CONFIG, {})

    def commit_until_full():
        for update in range(100):
            commit(run, update, count=300)

    with pytest.raises(RecordError, match="The disk is full: free some space, then go on with --resume"):
        commit_until_full()
    last = run.commits()[-1]
    assert last.damage() == ""
    assert run.recover() == last
    run.close()


def test_a_run_that_finds_no_room_leaves_no_folder(small_disk):
    with pytest.raises(RecordError, match="The disk is full"):
        Run.create(small_disk, "run", {"text": "x" * 2**21}, {})
    assert not list(small_disk.iterdir())


def test_a_file_size_limit_while_checkpointing_leaves_the_last_commit_intact(run):
    commit(run, 0)
    before = tree(run.folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(RecordError, match="ulimit -f"):
            run.commit(1, "rl", trajectories=[], advantages=[], metrics={}, state={}, write_checkpoint=big_bytes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(run.folder) == before


KILLS = 32


def test_a_killed_process_never_loses_or_breaks_a_commit(run):
    """Killed with -9 at random moments; each time the run must be exactly what was committed, and go on from there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["agentrl.data.record", "pyarrow.parquet", "pandas"]
    )  # pyarrow imports pandas if it can
    rng = np.random.default_rng(0)
    interrupted, newest = 0, -1
    for _ in range(KILLS):
        told, writing = _kill_after(context, run, delay_s=float(rng.random()) * 0.4)
        interrupted += writing
        with run.locked():
            last = run.recover()
        promised = max(told, newest)
        newest = -1 if last is None else last.update
        assert newest >= promised - (promised % 3 == 1), (
            "a commit that had returned is gone"
        )  # one in three has no checkpoint
        _check_recovered(run, last)
    assert interrupted >= KILLS // 4, "hardly a kill hit a write: the test shows nothing"
    assert newest > 0


def _kill_after(context, run, delay_s):
    """Last update the process told of before it was killed (-1: none), and whether it was in the middle of writing."""
    here, there = context.Pipe()
    process = context.Process(target=commit_until_killed, args=(run.folder, there), daemon=True)
    process.start()
    there.close()
    process.join(delay_s)
    process.kill()
    process.join()
    told = -1
    with contextlib.suppress(EOFError):
        while here.poll():
            told = here.recv()
    return told, bool(drafts(run))


def _check_recovered(run, last):
    commits = run.commits()
    assert [found.update for found in commits] == list(range(len(commits)))
    assert (commits[-1] if commits else None) == last
    assert not drafts(run)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"update": found.update, "stage": "rl"} | metrics_of(found.update) for found in commits]
    for found in commits[-3:]:
        assert found.damage() == ""
        assert found.state == state_of(found.update)
        assert first_difference(found.trajectories(), random_trajectories(found.update)) == ""
        if found.has_checkpoint:
            assert (found.checkpoint / "model/weights").read_bytes() == checkpoint_of(found.update)
        else:
            assert not (found.folder / "checkpoint").exists()

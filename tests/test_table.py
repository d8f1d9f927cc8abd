"""The Parquet table of trajectories: exact, small, and open to others."""

import dataclasses
import enum
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from differences import first_difference, same_trajectories
from hypothesis import given, settings
from hypothesis import strategies as st
from record_worker import random_advantages, random_trajectories

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.jsontext import to_json
from agentrl.data.reader import read_advantages, read_trajectories
from agentrl.data.rows import relation, training_rows
from agentrl.data.schema import KINDS
from agentrl.data.table import write_trajectories
from agentrl.data.types import Completion, Final, Outcome, Task, Trajectory, Turn
from agentrl.errors import DataError

DATA = pathlib.Path(__file__).parent / "data"


def one_trajectory(*turns: Turn, **changes) -> Trajectory:
    task = Task("train", 0, key="key")
    return dataclasses.replace(Trajectory(turns, task, group="g", outcome=Outcome.TERMINATED), **changes)


def turn(prompt=(), ids=(), **changes) -> Turn:
    prompt_ids, sampled = np.array(prompt, np.int32), np.array(ids, np.int32)
    completion = Completion("said", prompt_ids, sampled, np.zeros(len(ids), np.float32), None, np.zeros_like(sampled))
    return dataclasses.replace(Turn("seen", completion, "done", reward=0.5, anchor="seen"), **changes)


def saved(tmp_path, *trajectories):
    write_trajectories(tmp_path / "t.parquet", trajectories)
    return read_trajectories(tmp_path / "t.parquet")


@pytest.mark.parametrize("seed", range(5))
def test_trajectories_and_advantages_read_back_exactly(tmp_path, seed):
    trajectories = random_trajectories(seed, count=40)
    advantages = random_advantages(seed, trajectories)
    write_trajectories(tmp_path / "t.parquet", trajectories, advantages, update=3)
    found = read_trajectories(tmp_path / "t.parquet")
    assert first_difference(trajectories, found) == ""
    assert [t.seconds for t in found] == [t.seconds for t in trajectories]
    assert [t.success for t in found] == [t.success for t in trajectories]
    assert {t.completion.prompt_ids.dtype for whole in found for t in whole.turns} == {np.dtype(np.int32)}
    ids = {trajectory.id for trajectory in trajectories}
    for trajectory, expected, read in zip(
        trajectories, advantages, read_advantages(tmp_path / "t.parquet"), strict=True
    ):
        first = trajectory.inherited if (trajectory.parent or "").rpartition("@")[0] in ids else 0
        own = None if expected is None or len(trajectory.turns) == first else expected[first:]
        assert (own is None) == (read is None)
        if own is not None:
            assert isinstance(read, list) == isinstance(own, list)
            assert all(np.array_equal(a, b) for a, b in zip(own, read, strict=True))


def test_a_table_larger_than_one_row_group_reads_back(tmp_path):
    turns = [turn([1, 2, 3], [step % 7]) for step in range(600)]
    trajectories = [one_trajectory(*turns[member:], member=member) for member in range(16)]
    assert same_trajectories(trajectories, saved(tmp_path, *trajectories))
    assert pq.read_metadata(tmp_path / "t.parquet").num_row_groups > 1


def test_no_trajectories_make_an_empty_table(tmp_path):
    assert saved(tmp_path) == []
    assert read_advantages(tmp_path / "t.parquet") == []


def test_a_trajectory_that_failed_at_reset_keeps_one_row(tmp_path):
    failed = one_trajectory(outcome=Outcome.ENV_ERROR, error="reset: no such room")
    found = saved(tmp_path, failed, one_trajectory(turn()), failed)
    assert (found[0].outcome, found[0].error, len(found[0].turns)) == (Outcome.ENV_ERROR, "reset: no such room", 0)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["turn"].to_pylist() == [-1, 0, -1]
    assert table["reward"].to_pylist() == [None, 0.5, None]


def test_a_prompt_that_appends_is_stored_as_what_is_new(tmp_path):
    appends = one_trajectory(turn([1, 2], [3]), turn([1, 2, 3, 4], [5]), turn([1, 2, 3, 9, 9], [6]), turn([7], [8]))
    assert same_trajectories([appends], saved(tmp_path, appends))
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["prompt_start"].to_pylist() == [0, 3, 3, 0]
    assert table["prompt_ids"].to_pylist() == [[1, 2], [4], [9, 9], [7]]


def test_each_speaker_has_its_own_past(tmp_path):
    other = dataclasses.replace(turn([5, 6], [7]), agent="user")
    both = one_trajectory(turn([1], [2]), other, turn([1, 2, 3], [4]))
    assert same_trajectories([both], saved(tmp_path, both))
    assert pq.read_table(tmp_path / "t.parquet")["prompt_start"].to_pylist() == [0, 0, 2]


def branch_of(parent: Trajectory, at: int, *own: Turn, **changes) -> Trajectory:
    return one_trajectory(
        *parent.turns[:at], *own, **({"parent": f"{parent.id}@{at}", "inherited": at, "branch": 1} | changes)
    )


def test_a_branch_stores_its_own_turns_only_and_comes_back_whole(tmp_path):
    parent = one_trajectory(turn([1], [2]), turn([1, 2, 3], [4]))
    child = branch_of(parent, 1, turn([1, 2, 3], [5]))
    grandchild = branch_of(child, 2, turn([1, 2, 3, 5, 6], [7]))
    for order in ((parent, child, grandchild), (grandchild, child, parent)):
        assert first_difference(order, saved(tmp_path, *order)) == ""
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["trajectory"].to_pylist() == ["g.0-0@1.1@2.1", "g.0-0@1.1", "g.0-0", "g.0-0"]
    assert table["turn"].to_pylist() == [2, 1, 0, 1]
    assert table["prompt_ids"].to_pylist() == [[6], [3], [1], [3]]


def test_a_branch_whose_parent_is_elsewhere_is_stored_whole(tmp_path):
    parent = one_trajectory(turn([1], [2]), turn([1, 2, 3], [4]))
    alone = [branch_of(parent, 1, turn([1, 2, 3], [5])), branch_of(parent, 1, branch=2), branch_of(parent, 0, branch=3)]
    assert first_difference(alone, saved(tmp_path, *alone)) == ""
    assert pq.read_table(tmp_path / "t.parquet")["turn"].to_pylist() == [0, 1, 0, -1]


def test_a_branch_whose_first_turns_are_not_its_parents_keeps_its_own(tmp_path):
    parent = one_trajectory(turn([1], [2]), turn([1, 2, 3], [4]))
    other = branch_of(parent, 1, turn([7, 7, 8], [5]))
    replayed = dataclasses.replace(other, turns=(turn([7], [7]), *other.turns[1:]))
    longer = dataclasses.replace(branch_of(parent, 2, turn([9], [9]), branch=2), inherited=3)
    for whole in (replayed, longer):
        assert first_difference([parent, whole], saved(tmp_path, parent, whole)) == ""


def test_a_trajectory_cannot_inherit_turns_that_it_has_not(tmp_path):
    with pytest.raises(DataError, match=r"g\.0-0@1\.0 inherits 2 turns and has 1"):
        write_trajectories(tmp_path / "t", [one_trajectory(turn(), parent="g.0-0@1", inherited=2)])


@pytest.mark.parametrize("cut", [slice(1, None), [0, 2], [1, 0, 2]])
def test_a_table_that_lacks_turns_is_refused(tmp_path, cut):
    write_trajectories(tmp_path / "t.parquet", [one_trajectory(*[turn([1], [2])] * 3)])
    table = pq.read_table(tmp_path / "t.parquet")
    rows = table.slice(1) if isinstance(cut, slice) else table.take(cut)
    pq.write_table(rows, tmp_path / "cut.parquet")
    with pytest.raises(DataError, match=r"cut\.parquet.*missing"):
        read_trajectories(tmp_path / "cut.parquet")


def test_a_table_that_lacks_the_parent_of_a_branch_is_refused(tmp_path):
    parent = one_trajectory(turn([1], [2]))
    write_trajectories(tmp_path / "t.parquet", [parent, branch_of(parent, 1, turn([1, 2], [3]))])
    pq.write_table(pq.read_table(tmp_path / "t.parquet").slice(1), tmp_path / "cut.parquet")
    with pytest.raises(DataError, match=r"g\.0-0@1\.1 lacks its parent"):
        read_trajectories(tmp_path / "cut.parquet")


def test_what_a_trajectory_says_of_itself_reads_back(tmp_path):
    whole = one_trajectory(
        turn(kind="speak"),
        final=Final("the end", "a truer end", {"admissible": ["look"], "success": True}),
        labels={"arm": "hinted"},
        hidden={"solution": [1, {"a": None}]},
    )
    (found,) = saved(tmp_path, whole)
    assert first_difference([whole], [found]) == ""
    assert (found.labels, found.hidden, found.turns[0].kind) == (whole.labels, whole.hidden, "speak")
    assert found.final is not None
    assert found.final.admissible == ("look",)
    assert saved(tmp_path, one_trajectory(turn()))[0].final is None


COLUMNS_OF_A_PLUGIN = {
    "routed": Column("routed", "int32", "token", shape=(2, 3), fill=-1),
    "likeliest": Column("likeliest", "int64", "token", shape=(-1,)),
    "drawn": Column("drawn", "bool", "token"),
    "margin": Column("margin", "float64", "turn"),
    "note": Column("note", "text", "turn"),
    "rubric": Column("rubric", "json", "trajectory"),
    "spare": Column("spare", "float32", "turn", stored=False),
}


def test_declared_columns_read_back_without_the_plugin_that_declared_them(tmp_path):
    values = {
        "routed": np.arange(12, dtype=np.int32).reshape(2, 2, 3),
        "likeliest": np.array([[5, 6, 7], [8, 9, 2**40]]),
        "drawn": np.array([True, False]),
        "margin": 0.1,
        "note": "why\nnot",
    }
    whole = one_trajectory(
        turn([1], [2, 3], columns=dict(values)),
        turn([1], [], columns={"likeliest": np.zeros((0, 3), np.int64), "routed": np.zeros((0, 2, 3), np.int32)}),
        turn([4], [5]),
        columns={"rubric": {"style": [1, None]}},
    )
    spare = dataclasses.replace(whole.turns[2], columns={"spare": 1.0})
    write_trajectories(
        tmp_path / "t.parquet",
        [dataclasses.replace(whole, turns=(*whole.turns[:2], spare))],
        columns=COLUMNS_OF_A_PLUGIN | dict(COLUMNS),
    )
    (found,) = read_trajectories(tmp_path / "t.parquet")
    assert found.columns == {"rubric": {"style": [1, None]}}
    assert found.turns[0].columns.keys() == values.keys()
    for name, value in values.items():
        assert np.array_equal(found.turns[0].columns[name], value), name
        if isinstance(value, np.ndarray):
            assert found.turns[0].columns[name].dtype == value.dtype
    assert found.turns[1].columns["routed"].shape == (0, 2, 3)
    assert len(found.turns[1].columns["likeliest"]) == 0
    assert found.turns[2].columns == {}
    assert "spare" not in pq.read_schema(tmp_path / "t.parquet").names


def test_a_column_that_nobody_declared_is_refused(tmp_path):
    with pytest.raises(DataError, match="column 'valu' is not declared; offer it with `register_columns`"):
        write_trajectories(tmp_path / "t", [one_trajectory(turn(columns={"valu": 1.0}))])


@pytest.mark.parametrize("value", [np.zeros((2, 2, 2), np.int32), np.zeros((1, 2, 3), np.int32), np.zeros(2, np.int32)])
def test_a_column_of_another_shape_is_named(tmp_path, value):
    with pytest.raises(DataError, match=r"column 'routed' of turn 0 of g\.0-0 .* it takes \[2, 2, 3\]"):
        write_trajectories(
            tmp_path / "t", [one_trajectory(turn([1], [2, 3], columns={"routed": value}))], columns=COLUMNS_OF_A_PLUGIN
        )


@pytest.mark.parametrize(
    ("dtype", "per", "value"),
    [
        ("float32", "token", ["x", "y"]),
        ("float32", "token", [[1], [2, 3]]),
        ("float32", "token", np.array([1e300, 0.0])),
        ("int32", "token", [0.5, 1]),
        ("int32", "token", [2**40, 1]),
        ("int32", "token", [np.nan, 1]),
        ("int32", "token", [None, 1]),
        ("bool", "token", ["yes", "no"]),
        ("bool", "token", [0.5, 1]),
        ("float64", "turn", "x"),
        ("float64", "turn", [1.0, 2.0]),
        ("int64", "turn", 2**70),
        ("int32", "trajectory", 1.5),
        ("bool", "trajectory", 2),
        ("text", "turn", 5),
        ("text", "trajectory", b"x"),
    ],
)
def test_a_value_that_its_column_would_change_is_refused_by_table_and_rows(tmp_path, dtype, per, value):
    column = Column("mine", dtype, per, fill="" if dtype == "text" else 0)
    own = {"columns": {"mine": value}}
    whole = one_trajectory(turn([1], [2, 3], **({} if per == "trajectory" else own)))
    whole = dataclasses.replace(whole, **(own if per == "trajectory" else {}))
    with pytest.raises(DataError, match=r"column 'mine' of .*g\.0-0"):
        write_trajectories(tmp_path / "t", [whole], columns={"mine": column})
    with pytest.raises(DataError, match=r"column 'mine' of .*g\.0-0"):
        training_rows([whole], [np.ones(1)], columns=[column])


def test_values_that_fit_are_taken_whatever_holds_them(tmp_path):
    columns = {name: Column(name, kind, per) for name, kind, per in (("a", "int32", "token"), ("b", "float64", "turn"))}
    written = turn([1], [2, 3], columns={"a": (1, 2.0), "b": np.array(0.5)})
    write_trajectories(tmp_path / "t", [one_trajectory(written)], columns=columns)
    (found,) = read_trajectories(tmp_path / "t")
    assert (found.turns[0].columns["a"].tolist(), found.turns[0].columns["b"]) == ([1, 2], 0.5)


def test_none_is_nothing_written(tmp_path):
    silent = one_trajectory(turn([1], [2], columns={"reference": None, "value": None, "judged": None}))
    assert saved(tmp_path, silent)[0].turns[0].columns == {}
    (row,) = training_rows([silent], [np.ones(1)], columns=[COLUMNS["reference"], COLUMNS["value"]])
    assert row.columns == {}


def test_a_table_of_schema_version_1_is_read(tmp_path):
    expected = json.loads((DATA / "version_1.json").read_text(encoding="utf-8"))
    found = read_trajectories(DATA / "version_1.parquet")
    assert len(found) == len(expected) == 5
    for whole, plain in zip(found, expected, strict=True):
        assert whole.outcome.value == plain["outcome"]
        assert whole.task == Task(**plain["task"])
        for name in ("group", "member", "attempt", "seed", "parent", "error", "seconds"):
            assert getattr(whole, name) == plain[name], name
        assert (whole.final, whole.labels, whole.hidden, whole.inherited) == (None, {}, {}, 0)
        last = {}
        for now, old in zip(whole.turns, plain["turns"], strict=True):
            for name in ("observation", "action", "reward", "anchor", "rewards", "invalid", "info", "agent"):
                assert getattr(now, name) == old[name], name
            for name in ("prompt_ids", "ids", "logprobs", "versions", "entropy"):
                value = getattr(now.completion, name)
                assert (None if value is None else value.tolist()) == old["completion"][name], name
            assert (now.completion.text, now.completion.stop) == (old["completion"]["text"], old["completion"]["stop"])
            assert dataclasses.asdict(now.completion.sampling) == old["completion"]["sampling"]
            assert (now.columns, now.kind) == (old["extras"], "act")
            assert (now.relation, now.kept) == relation(last.get(now.agent), now.completion.prompt_ids)
            last[now.agent] = now.completion
    kinds = {None if a is None else type(a) for a in read_advantages(DATA / "version_1.parquet")}
    assert kinds == {None, list, np.ndarray}
    assert any("judgement" in now.columns for whole in found for now in whole.turns)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), max_size=3)), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_prompts_reads_back(tmp_path_factory, pairs):
    trajectory = one_trajectory(*(turn(prompt, ids) for prompt, ids in pairs))
    assert same_trajectories([trajectory], saved(tmp_path_factory.mktemp("table"), trajectory))


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Ended:
    status: str
    usage: dict


class Unknown:
    pass


def test_info_holds_whatever_a_world_puts_there(tmp_path):
    info = {
        "array": np.arange(3),
        "number": np.float32(0.5),
        "flag": np.bool_(True),
        "tuple": (1, ("a", None)),
        "set": {"b", "a"},
        "nan": float("nan"),
        "infinite": [-np.inf, np.array([np.nan])],
        "enum": Colour.RED,
        "result": Ended("exited", {"cpu": 0.1}),
        "path": pathlib.Path("/tmp"),
        "unknown": Unknown(),
        3: "key",
        (1, 2): "odd key",
        "half": "\ud800",
    }
    (found,) = saved(tmp_path, one_trajectory(turn(info=info)))
    expected = {
        "array": [0, 1, 2],
        "number": 0.5,
        "flag": True,
        "tuple": [1, ["a", None]],
        "set": ["a", "b"],
        "nan": None,
        "infinite": [None, [None]],
        "enum": 1,
        "result": {"status": "exited", "usage": {"cpu": 0.1}},
        "path": "/tmp",
        "3": "key",
        "[1,2]": "odd key",
        "half": "\ud800",
    }
    unknown = found.turns[0].info.pop("unknown")
    assert found.turns[0].info == expected
    assert unknown.endswith("Unknown>")
    assert "0x" not in unknown


def test_a_value_that_contains_itself_is_named_not_followed():
    loop: list = []
    loop.append(loop)
    assert json.loads(to_json({"loop": loop})) == "a dict that contains itself"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_plain_values_pass_json_unchanged(value):
    assert json.loads(to_json(value)) == value


def test_text_that_no_file_takes_stays_readable(tmp_path):
    (found,) = saved(tmp_path, one_trajectory(turn(observation="a\ud800b", anchor="other")))
    assert found.turns[0].observation == "a\\ud800b"


def test_values_that_are_not_finite_are_kept_where_they_are_numbers(tmp_path):
    strange = turn(reward=float("nan"), rewards={"goal": float("nan")})
    (found,) = saved(tmp_path, one_trajectory(strange))
    assert np.isnan(found.turns[0].reward)
    assert np.isnan(found.turns[0].rewards["goal"])
    assert same_trajectories([one_trajectory(strange)], [found])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0]]),
        ([0.5, [3.0]], [[0.5, 0.5], [3.0]]),
        ([1, np.array(2)], [1.0, 2.0]),
        (((1.0, 2.0), (3.0,)), [[1.0, 2.0], [3.0]]),
    ],
)
def test_advantages_are_stored_and_trained_the_same_whatever_holds_them(tmp_path, given, kept):
    whole = one_trajectory(turn([1], [2, 3]), turn([1, 2, 3], [4], relation="append"))
    write_trajectories(tmp_path / "t", [whole], [given])
    (found,) = read_advantages(tmp_path / "t")
    assert [np.asarray(value).tolist() for value in found] == kept
    (row,) = training_rows([whole], [given])
    assert (
        row.advantages[row.sampled].tolist()
        == np.concatenate([np.broadcast_to(value, n) for value, n in zip(kept, (2, 1), strict=True)]).tolist()
    )


@pytest.mark.parametrize(
    "given", [["a", "b"], [None, None], [1j, 2], [[1.0], [2.0]], [np.ones((2, 1)), 1.0], [1.0, np.nan]]
)
def test_advantages_that_are_none_are_refused_by_table_and_rows(tmp_path, given):
    whole = one_trajectory(turn([1], [2, 3]), turn([1, 2, 3], [4], relation="append"))
    with pytest.raises(DataError, match=r"of trajectory g\.0-0"):
        write_trajectories(tmp_path / "t", [whole], [given])
    with pytest.raises(DataError, match=r"of trajectory g\.0-0"):
        training_rows([whole], [given])


def test_a_wrong_number_of_advantages_is_refused(tmp_path):
    with pytest.raises(DataError, match="1 trajectories but 2 advantages"):
        write_trajectories(tmp_path / "a", [one_trajectory(turn())], [np.zeros(1), np.zeros(1)])
    with pytest.raises(DataError, match="2 advantages for the 1 turns"):
        write_trajectories(tmp_path / "b", [one_trajectory(turn())], [np.zeros(2)])


def test_a_value_that_does_not_fit_its_column_is_named(tmp_path):
    with pytest.raises(DataError, match="'seed'.*int64"):
        write_trajectories(tmp_path / "t", [one_trajectory(turn(), seed=2**70)])


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_file_is_a_clear_error(tmp_path, damage):
    path = tmp_path / "t.parquet"
    write_trajectories(path, random_trajectories(0))
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(
        {"truncate": path.read_bytes()[:-100], "flip": bytes(data), "empty": b"", "text": b"x" * 99}[damage]
    )
    with pytest.raises(DataError, match=r"t\.parquet"):
        read_trajectories(path)


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"schema_version", "update", "success"}))
def test_a_table_that_lacks_a_column_is_refused(tmp_path, name):
    write_trajectories(tmp_path / "t.parquet", [one_trajectory(turn([1], [2]))], [np.ones(1)])
    pq.write_table(pq.read_table(tmp_path / "t.parquet").drop_columns([name]), tmp_path / "cut.parquet")
    with pytest.raises(DataError, match=f"cut\\.parquet.*lacks the column '{name}'"):
        read_trajectories(tmp_path / "cut.parquet")


OTHER_DECLARATIONS = [
    b"{",
    b"\xff",
    b"[]",
    b"{}",
    b'{"columns": [{"name": "value"}]}',
    b'{"columns": [{"name": "nowhere", "dtype": "float64", "per": "turn", "shape": []}]}',
    b'{"columns": [{"name": "value", "dtype": "float64", "per": "turn", "shape": [], "later": 1}]}',
    b'{"columns": [{"name": "value", "dtype": "complex64", "per": "turn", "shape": []}]}',
]


@pytest.mark.parametrize("declared", OTHER_DECLARATIONS)
def test_declarations_that_are_none_are_a_clear_error(tmp_path, declared):
    write_trajectories(tmp_path / "t.parquet", [one_trajectory(turn([1], [2], columns={"value": 0.5}))])
    table = pq.read_table(tmp_path / "t.parquet").replace_schema_metadata({b"agentrl": declared})
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet"):
        read_trajectories(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("name", "values"), [("info", ["{"]), ("info", [None]), ("outcome", ["odd"]), ("turn", [None]), ("ids", [None])]
)
def test_values_that_no_trajectory_has_are_a_clear_error(tmp_path, name, values):
    write_trajectories(tmp_path / "t.parquet", [one_trajectory(turn([1], [2]))])
    table = pq.read_table(tmp_path / "t.parquet")
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, pa.array(values, table.schema.field(at).type)), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet"):
        read_trajectories(tmp_path / "x.parquet")


def test_a_table_that_another_tool_wrote_again_is_read(tmp_path):
    trajectories = random_trajectories(3, count=10)
    write_trajectories(tmp_path / "t.parquet", trajectories)
    table = pq.read_table(tmp_path / "t.parquet")
    wider = {"string": pa.large_string(), "int32": pa.int64(), "list<element: int32>": pa.large_list(pa.int64())}
    fields = [
        field.with_type(wider.get(str(field.type), field.type)) if field.name in KINDS else field
        for field in table.schema
    ]
    pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), tmp_path / "wide.parquet")
    assert first_difference(trajectories, read_trajectories(tmp_path / "wide.parquet")) == ""


def test_every_bit_of_a_file_that_flips_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "t.parquet"
    trajectories = random_trajectories(1, count=8)
    write_trajectories(path, trajectories)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.integers(len(data), size=150):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        try:
            found = read_trajectories(path)
        except DataError:
            noticed += 1
        else:
            assert first_difference(trajectories, found) == "", place
    assert noticed > 50


def test_a_table_of_another_schema_version_is_refused(tmp_path):
    write_trajectories(tmp_path / "t.parquet", [one_trajectory(turn())])
    table = pq.read_table(tmp_path / "t.parquet")
    newer = table.set_column(0, table.schema.field(0), [pa.array([99], pa.int16())])
    pq.write_table(newer, tmp_path / "newer.parquet")
    with pytest.raises(DataError, match=r"newer\.parquet.* schema version 99, and this agentrl reads 1 and 2"):
        read_trajectories(tmp_path / "newer.parquet")
    pq.write_table(table.drop_columns(["schema_version"]), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="not a table of trajectories"):
        read_trajectories(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"reward": 0.25}, "reward of turn 0"),
        ({"action": "else"}, "action of turn 0"),
        ({"info": {"success": True}}, "of turn 0"),
        ({"kind": "speak"}, "kind of turn 0"),
        ({"columns": {"value": 0.5}}, "column value of turn 0"),
        ({"completion": turn([1, 2], [4]).completion}, "ids of turn 0"),
        ({"completion": turn([9, 2], [3]).completion}, "prompt_ids of turn 0"),
    ],
)
def test_a_difference_is_found_and_named(change, where):
    base = turn([1, 2], [3])
    one, other = one_trajectory(base), one_trajectory(dataclasses.replace(base, **change))
    assert where in first_difference([one], [other])
    assert not same_trajectories([one], [other])
    assert not same_trajectories([one], [])


def test_seconds_make_no_difference():
    assert same_trajectories([one_trajectory(turn(), seconds=1.0)], [one_trajectory(turn(), seconds=2.0)])


def test_files_are_far_smaller_than_the_repeated_prompts(tmp_path):
    rng = np.random.default_rng(0)
    turns, prompt = [], rng.integers(0, 50_000, 100)
    for _ in range(200):
        turns.append(turn(prompt, [1, 2]))
        prompt = np.concatenate((prompt, [1, 2], rng.integers(0, 50_000, 20)))
    trajectory = one_trajectory(*turns)
    assert same_trajectories([trajectory], saved(tmp_path, trajectory))
    whole = sum(t.completion.prompt_ids.nbytes for t in turns)
    assert (tmp_path / "t.parquet").stat().st_size < whole / 20


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "trajectories.parquet"
    trajectories = random_trajectories(5, count=30)
    write_trajectories(path, trajectories, random_advantages(5, trajectories))
    return path


def test_pandas_opens_the_table(table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(table)
    assert len(frame) == pq.read_metadata(table).num_rows
    assert frame.groupby("trajectory").reward.sum().notna().any()


def test_duckdb_opens_the_table(table):
    duckdb = pytest.importorskip("duckdb")
    query = f"select count(*), max(len(ids)), count(info->'admissible') from '{table}'"
    rows, longest, listed = duckdb.connect().execute(query).fetchone()
    assert rows == pq.read_metadata(table).num_rows
    assert longest > 0
    assert listed > 0


def test_polars_opens_the_table(table):
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(table)
    assert frame.height == pq.read_metadata(table).num_rows
    assert frame["ids"].dtype == polars.List(polars.Int32)


def test_datasets_opens_the_table(table, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_parquet(str(table), cache_dir=str(tmp_path))
    assert len(rows) == pq.read_metadata(table).num_rows
    assert rows.features["logprobs"].feature.dtype == "float32"

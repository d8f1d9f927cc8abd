"""Parts by type: a parameter that is annotated with a contract gets that part of the run, and nothing else is guessed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest

import agentrl
from agentrl import ConfigError, Host, PluginError, Scope, Spec
from agentrl.parts.wiring import Lazy
from agentrl_plugins.models.table import Table
from agentrl_plugins.policies.scripted import Random


def host(hook: str, part: Callable[..., object], name: str = "mine") -> Host:
    module = ModuleType("mine")

    def register(register: agentrl.Register) -> None:
        register(name, part)

    register.__module__ = "mine"
    setattr(module, hook, register)
    return Host({"mine": module})


class Taker:
    """A collector that keeps whatever it is given."""

    async def collect(self, draw: object, speakers: object) -> list[agentrl.Group]:
        return []


def build(part: Callable[..., object], scope: Scope | None = None, **settings: object) -> Any:
    return host("register_collectors", part).build(Spec("collector", "mine", settings), scope)


def test_parts_are_given_by_their_types_whatever_their_names() -> None:
    class Mine(Taker):
        def __init__(
            self, weights: agentrl.Model, number: agentrl.Seed, *, words: agentrl.Codec, size: int = 1
        ) -> None:
            self.got = weights, number, words, size

    model = Table()
    scope = Scope({agentrl.Model: model, agentrl.Seed: agentrl.Seed(7), agentrl.Codec: model.codec})
    assert build(Mine, scope, size=3).got == (model, 7, model.codec, 3)


def test_of_what_is_called_settings_are_bound_and_the_first_parameters_stay_open() -> None:
    def credit(trajectories: list[float], *, by: float = 1.0, seed: agentrl.Seed) -> list[float]:
        return [value + by + seed for value in trajectories]

    mine = host("register_credits", credit)
    part = mine.build(Spec("credit", "mine", {"by": 2}), Scope({agentrl.Seed: agentrl.Seed(10)}))
    assert part([1.0]) == [13.0]


def test_a_class_among_what_is_called_is_constructed() -> None:
    class Credit:
        def __init__(self, *, by: float = 1.0) -> None:
            self.by = by

        def __call__(self, trajectories: list[float]) -> list[float]:
            return [value + self.by for value in trajectories]

    assert host("register_credits", Credit).build(Spec("credit", "mine", {"by": 2}))([1.0]) == [3.0]


def test_a_part_with_a_default_is_filled_only_where_the_run_file_names_one() -> None:
    class Mine(Taker):
        def __init__(self, *, user: agentrl.Policy | None = None, judge: agentrl.Policy | None = None) -> None:
            self.got = user, judge

    scope = Scope({agentrl.Policy: Random()}, named={"policies.user": "the user"}.__getitem__)
    assert build(Mine, scope).got == (None, None)
    user, judge = build(Mine, scope, user="policies.user", judge={"name": "random"}).got
    assert user == "the user"
    assert isinstance(judge, Random)
    assert isinstance(build(Mine, scope, judge="random").got[1], Random)


def test_a_name_of_the_run_outside_a_run_is_refused() -> None:
    class Mine(Taker):
        def __init__(self, *, user: agentrl.Policy | None = None) -> None: ...

    with pytest.raises(ConfigError, match="'policies.user' names a part of a run; here is none"):
        build(Mine, Scope(), user="policies.user")


def test_nested_parts_see_the_same_scope_and_equal_tables_are_one_part() -> None:
    class Seeded:
        def __init__(self, seed: agentrl.Seed, *, size: int = 1) -> None:
            self.seed, self.size = seed, size

        def next(self, update: int) -> list[agentrl.Task]:
            return []

    class Mine(Taker):
        def __init__(self, *, first: agentrl.Sampler | None = None, second: agentrl.Sampler | None = None) -> None:
            self.got = first, second

    module = ModuleType("mine")
    for hook, part in (("register_collectors", Mine), ("register_samplers", Seeded)):

        def register(register: agentrl.Register, part: object = part) -> None:
            register("mine", part)

        register.__module__ = "mine"
        setattr(module, hook, register)
    both = Host({"mine": module})
    scope = Scope({agentrl.Seed: agentrl.Seed(7)})
    table = {"name": "mine", "size": 2}
    first, second = both.build(Spec("collector", "mine", {"first": table, "second": dict(table)}), scope).got
    assert first is second
    assert (first.seed, first.size) == (7, 2)
    other = both.build(Spec("collector", "mine", {"first": table | {"size": 3}}), scope).got[0]
    assert other.size == 3
    with pytest.raises(ConfigError, match="sampler 'mine' has no setting 'siez'. Did you mean 'size'"):
        both.check(Spec("collector", "mine", {"first": {"name": "mine", "siez": 2}}))


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (agentrl.Model, r"collector 'mine' needs a model; this run has none. Add a \[model\] table"),
        (agentrl.Player, "collector 'mine' needs a player; this run has none"),
        (agentrl.Seed, "collector 'mine' needs a seed; this run has none"),
        (agentrl.Voice, "collector 'mine' needs a .*; this run has none"),
    ],
)
def test_a_part_that_the_run_lacks_is_named(contract: object, message: str) -> None:
    class Mine(Taker):
        def __init__(self, part: object) -> None: ...

    Mine.__init__.__annotations__["part"] = contract
    with pytest.raises(ConfigError, match=message):
        build(Mine, Scope())


def test_a_parameter_that_is_neither_setting_nor_part_is_refused_with_the_way_out() -> None:
    class Old(Taker):
        def __init__(self, environment, model) -> None: ...  # type: ignore[no-untyped-def]

    old = host("register_collectors", Old)
    for attempt in (old.build, old.check):
        with pytest.raises(
            PluginError, match="'environment' .*annotate it with a contract.*CHANGELOG, 'Parts by type'"
        ):
            attempt(Spec("collector", "mine"))


def test_a_part_that_lacks_something_of_its_contract_is_refused_naming_it() -> None:
    class Half:
        pass

    with pytest.raises(PluginError, match="collector 'mine' of plugin 'mine' gave .*lacks collect of Collector"):
        build(Half)


def test_a_lazy_part_is_made_once_and_only_when_it_is_asked_for() -> None:
    made: list[int] = []

    def model() -> str:
        made.append(1)
        return "the model"

    scope = Scope({agentrl.Model: Lazy(model)})
    assert scope.get(agentrl.Codec) is None
    assert made == []
    assert [scope.get(agentrl.Model), scope.within({}).get(agentrl.Model)] == ["the model"] * 2
    assert made == [1]


def test_what_a_scope_keeps_is_closed_once_in_reverse_order() -> None:
    closed: list[str] = []

    class Closes:
        def __init__(self, name: str) -> None:
            self.close = lambda: closed.append(name)

    with ExitStack() as stack:
        scope = Scope(stack=stack)
        scope.keep(Closes("first"))
        scope.within({}).keep(Closes("second"))
        scope.keep(object())
        with ExitStack() as inner:
            scope.within({}, stack=inner).keep(Closes("inner"))
        assert closed == ["inner"]
    assert closed == ["inner", "second", "first"]


def test_an_inner_scope_changes_nothing_outside() -> None:
    scope = Scope({agentrl.Seed: agentrl.Seed(1)})
    inner = scope.within({agentrl.Seed: agentrl.Seed(2), agentrl.Updates: agentrl.Updates(3)})
    assert (inner.get(agentrl.Seed), inner.get(agentrl.Updates)) == (2, 3)
    assert (scope.get(agentrl.Seed), scope.get(agentrl.Updates)) == (1, None)


def test_a_voice_is_the_runs_own_policy_or_a_named_one() -> None:
    class Mine(Taker):
        def __init__(self, own: agentrl.Voice, *, user: agentrl.Voice | None = None) -> None:
            self.got = own, user

    class Asked:
        accepts: frozenset[type] = frozenset()
        exact, repeatable, version = False, True, None

        async def act(self, dialogue: agentrl.Dialogue) -> agentrl.Completion:
            return agentrl.Completion("yes")

        async def refresh(self, weights: agentrl.Weights) -> None: ...
        def forget(self, key: str) -> None: ...

    asked = Asked()
    scope = Scope(named=lambda path: asked, voice=lambda policy: ("voice of", policy))  # type: ignore[arg-type,return-value]
    assert build(Mine, scope).got == (("voice of", None), None)
    assert build(Mine, scope, user="policies.user").got == (("voice of", None), ("voice of", asked))
    with pytest.raises(ConfigError, match="a voice needs a run with a policy that can be awaited"):
        build(Mine, scope, user={"name": "random"})


def test_a_part_given_live_from_python_is_taken_as_it_is() -> None:
    class Mine(Taker):
        def __init__(self, *, user: agentrl.Policy | None = None) -> None:
            self.user = user

    live = Random()
    assert build(Mine, Scope(), user=live).user is live


def test_a_run_file_cannot_describe_what_is_no_kind_of_part() -> None:
    class Mine(Taker):
        def __init__(self, *, player: agentrl.Player | None = None) -> None: ...

    with pytest.raises(ConfigError, match="player takes a part of the run .*cannot describe"):
        build(Mine, Scope(), player="asynchronous")


def test_providers_of_sandboxes_with_equal_settings_are_one() -> None:
    class Provider:
        def __init__(self, *, size: int = 1) -> None:
            self.size = size

        def __getattr__(self, name: str) -> object:
            return None

    places = host("register_sandboxes", Provider)
    one, same, other = (places.provider(Spec("sandbox", "mine", {"size": size})) for size in (1, 1, 2))
    assert one is same
    assert other.size == 2

"""The quick `dataclass` gives what the standard one gives, for every form that the code uses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from eyeflow.base import record


def forms(dataclass: Callable[..., Any]) -> dict[str, Any]:
    """Return the same classes, made by one of the two."""

    @dataclass(frozen=True, slots=True)
    class Empty:
        """Nothing."""

    @dataclass(frozen=True, slots=True)
    class One:
        """One field."""

        value: int

    @dataclass(frozen=True, slots=True)
    class Many:
        """Defaults, a factory, a method, a property."""

        name: str
        size: int = 3
        parts: tuple[int, ...] = (1, 2)
        found: list[int] = field(default_factory=list)

        def twice(self) -> int:
            return self.size * 2

    @dataclass(frozen=True, slots=True)
    class Checked:
        """Refuses what is wrong."""

        value: int

        def __post_init__(self) -> None:
            if self.value < 0:
                raise ValueError("negative")

    @dataclass(frozen=True, slots=True)
    class Own:
        """Says itself what it equals and how it looks."""

        value: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __repr__(self) -> str:
            return "own"

    @dataclass(frozen=True, slots=True)
    class Hidden:
        """Has fields that are made, not given, or not compared."""

        value: int
        made: int = field(init=False, default=7)
        note: str = field(default="", compare=False)

    @dataclass(frozen=True, slots=True)
    class Child(Many):
        """Adds a field."""

        more: int = 0

    @dataclass(slots=True)
    class Loose:
        """Can change."""

        value: int
        rest: dict[str, int] = field(default_factory=dict)

    found = (Loose, Empty, One, Many, Checked, Own, Hidden, Child)
    return {one.__name__: one for one in found}


ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "Empty": [()],
    "Loose": [(1,), (1, {}), (2, {"a": 1})],
    "One": [(1,), (2,), (1.0,)],
    "Many": [("a",), ("a", 3), ("b", 4, (), [1])],
    "Checked": [(0,), (5,)],
    "Own": [(1,), (2,)],
    "Hidden": [(1,), (1, "note"), (2, "note")],
    "Child": [("a",), ("a", 3, (), [], 1)],
}
QUICK, STANDARD = forms(record.dataclass), forms(dataclasses.dataclass)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_class_is_as_the_standard_one(name: str) -> None:
    quick, standard = QUICK[name], STANDARD[name]
    assert [one.name for one in dataclasses.fields(quick)] == [one.name for one in dataclasses.fields(standard)]
    assert (quick.__slots__, quick.__match_args__) == (standard.__slots__, standard.__match_args__)
    assert list(inspect.signature(quick).parameters) == list(inspect.signature(standard).parameters)
    assert not hasattr(quick(*ARGUMENTS[name][0]), "__dict__")
    ours, theirs = ([made(*given) for given in ARGUMENTS[name]] for made in (quick, standard))
    assert list(map(repr, ours)) == list(map(repr, theirs))
    assert [[a == b for b in ours] for a in ours] == [[a == b for b in theirs] for a in theirs]
    assert ours[0] != theirs[0] or name == "Own"
    assert list(map(dataclasses.asdict, ours)) == list(map(dataclasses.asdict, theirs))


@pytest.mark.parametrize("name", ["Empty", "One", "Checked", "Own", "Hidden"])
def test_equal_ones_have_one_hash(name: str) -> None:
    for given in ARGUMENTS[name]:
        assert hash(QUICK[name](*given)) == hash(QUICK[name](*given))
    if name == "Own":
        assert hash(QUICK[name](1)) != hash(QUICK[name](2)), "by its fields, as in the standard one"
    with pytest.raises(TypeError):
        hash(QUICK["Many"]("a"))  # a list has none


def test_what_is_not_frozen_changes_and_has_no_hash() -> None:
    for made in (QUICK["Loose"](1), STANDARD["Loose"](1)):
        made.value = 2
        assert (made.value, made.rest) == (2, {})
        with pytest.raises(AttributeError):
            made.other = 1
        with pytest.raises(TypeError, match="unhashable"):
            hash(made)


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "Loose"])
def test_nothing_can_be_assigned_or_deleted(name: str) -> None:
    made = QUICK[name](*ARGUMENTS[name][0])
    names = [one.name for one in dataclasses.fields(made)]
    if name not in ("Hidden", "Child"):  # there the standard library answers, and stumbles over other names
        names.append("other")
    for one in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, one, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, one)


@record.dataclass(frozen=True, slots=True)
class Kept:
    """At the top of a module, where pickle finds it."""

    value: int


def test_copies_replaces_pickles_and_matches() -> None:
    one = Kept(5)
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert dataclasses.replace(one, value=6) == Kept(6)
    match one:
        case Kept(value):
            assert value == 5


def test_wrong_arguments_and_values_are_refused() -> None:
    for classes in (QUICK, STANDARD):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
            classes["Many"]()
        with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
            classes["Many"]("a", bogus=1)
        with pytest.raises(ValueError, match="negative"):
            classes["Checked"](-1)
    assert QUICK["Many"]("a").found is not QUICK["Many"]("a").found


def test_control_another_form_is_left_to_the_standard_library() -> None:
    loose = record.dataclass(type("Loose", (), {"__annotations__": {"value": "int"}, "__doc__": "x"}))
    made = loose(1)
    made.value = 2
    assert made.value == 2

"""`dataclass(slots=True)` of the standard library, frozen or not, made in a fraction of the time.

The standard one compiles six functions for each class. The compiler and the SVM have over a hundred such classes, and
making them took half of `eyeflow check`. Here only `__init__` is compiled, once for all classes of a shape, and the
rest is the same few functions for all. `dataclasses.fields`, `replace`, `asdict` and `match` work as ever. A class with
any other wish (fields that are inherited, not compared, keyword-only) gets the standard treatment.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: Any = None, /, **options: bool) -> Any:
        """Make a class a dataclass, as `dataclasses.dataclass` does, with the same options and errors."""
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if options in _FORMS and _is_plain(cls):
            return _made(cls, is_frozen="frozen" in options)
        return dataclasses.dataclass(cls, **options)


_FORMS = ({"frozen": True, "slots": True}, {"slots": True})


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """From it we take what the standard library tells its classes and their fields by."""

    value: int


@dataclasses.dataclass
class _Loose:
    """The same for classes that can change."""


_MODEL_FIELD: Any = dataclasses.fields(_Frozen)[0]


def _is_plain(cls: type) -> bool:
    """Return whether a class inherits no fields, and wishes nothing special of its own."""
    own = vars(cls)
    wishes = [one for one in own.values() if isinstance(one, dataclasses.Field)]
    defaults = [own[name] for name in own.get("__annotations__", ()) if name in own]
    return (
        not any(map(dataclasses.is_dataclass, cls.__mro__))
        and "__setattr__" not in own
        and all(isinstance(kind, str) and not _SPECIAL.intersection(kind.split("[")) for kind in _kinds(cls))
        and all(
            one.init and one.repr and one.compare and one.hash is None and one.kw_only is not True for one in wishes
        )
        and all(one.__class__.__hash__ is not None for one in defaults)  # the standard library refuses a list
    )


_SPECIAL = {"ClassVar", "typing.ClassVar", "InitVar", "dataclasses.InitVar", "KW_ONLY", "dataclasses.KW_ONLY"}


def _kinds(cls: type) -> list[object]:
    return list(vars(cls).get("__annotations__", {}).values())


def _made(cls: type, *, is_frozen: bool) -> type:
    """Return the class anew with slots: Python has no other way to add them."""
    own, model = dict(vars(cls)), cast(Any, _Frozen if is_frozen else _Loose)
    fields = tuple(_field(name, kind, own) for name, kind in own.get("__annotations__", {}).items())
    names = tuple(one.name for one in fields)
    inner = {name: value for name, value in own.items() if name not in (*names, "__dict__", "__weakref__")}
    for name, method in (_methods(names) | (_FROZEN if is_frozen else {"__hash__": None})).items():
        if inner.get(name) is None:  # what a class says itself stands; Python sets __hash__ to None beside __eq__
            inner[name] = method
    inner |= {
        "__slots__": names,
        "__match_args__": names,
        "__dataclass_fields__": {one.name: one for one in fields},
        "__dataclass_params__": model.__dataclass_params__,
    }
    made = type(cls)(cls.__name__, cls.__bases__, inner)
    made.__qualname__ = cls.__qualname__
    if "__init__" not in own:
        made.__init__ = _init(made, fields)  # type: ignore[misc]
    return made


def _field(name: str, kind: object, own: dict[str, Any]) -> dataclasses.Field[Any]:
    given = own.get(name, dataclasses.MISSING)
    field: Any = given if isinstance(given, dataclasses.Field) else dataclasses.field(default=given)
    field.name, field.type, field.kw_only, field._field_type = name, kind, False, _MODEL_FIELD._field_type
    return field  # type: ignore[no-any-return]


def _methods(names: tuple[str, ...]) -> dict[str, Any]:
    values = attrgetter(*names) if names else lambda _: ()

    def equal(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    def shown(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def state(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names]

    def restore(self: Any, state: list[Any]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return {
        "__eq__": equal,
        "__hash__": hashed,
        "__repr__": shown,
        "__getstate__": state,
        "__setstate__": restore,
    }


def _init(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> FunctionType:
    """Return the `__init__`: it sets each slot through its descriptor, which no `__setattr__` can refuse.

    Compiling is what takes long, so classes with the same shape share the code, each with its own names for arguments.
    """
    known: dict[str, Any] = {"absent": dataclasses.MISSING}
    lines, defaults = ["pass"], []
    for number, one in enumerate(fields):
        known[f"set{number}"] = getattr(cls, one.name).__set__
        value = f"_{number}"
        if one.default_factory is not dataclasses.MISSING:
            known[f"make{number}"] = one.default_factory
            value = f"make{number}() if _{number} is absent else _{number}"
        lines.append(f"set{number}(self, {value})")
        defaults.append(one.default)
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    code = _compiled(len(fields), "\n ".join(lines)).replace(co_varnames=("self", *(one.name for one in fields)))
    has_default = [one.default is not one.default_factory for one in fields]  # both are MISSING without one
    given = tuple(value for value, has in zip(defaults, has_default, strict=True) if has)
    return FunctionType(code, known, "__init__", given)


@cache
def _compiled(count: int, body: str) -> CodeType:
    found: dict[str, Any] = {}
    exec(f"def __init__({', '.join(['self', *(f'_{n}' for n in range(count))])}):\n {body}", found)
    code: CodeType = found["__init__"].__code__
    return code


def _refuse_assigning(self: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_FROZEN = {"__setattr__": _refuse_assigning, "__delattr__": _refuse_deleting}

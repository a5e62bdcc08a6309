"""From the typed tree to the intermediate representation."""

from __future__ import annotations

from eyeflow.compiler import ir
from eyeflow.compiler import typed as t
from eyeflow.compiler.lower.builder import Builder
from eyeflow.compiler.lower.statements import lower_block

__all__ = ["lower_rule"]


def lower_rule(rule: t.Rule) -> ir.Unit:
    """Lower all handlers of a rule."""
    unit = ir.Unit(rule)
    for handler in rule.handlers:
        builder = Builder(unit)
        lower_block(builder, handler.body)
        unit.handlers.append(ir.Handler(handler.trigger, tuple(builder.nodes), handler.span))
    return unit

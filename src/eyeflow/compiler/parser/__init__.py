"""From tokens to the syntax tree, with recovery behind every mistake."""

from __future__ import annotations

from eyeflow.compiler.parser.parse import ParseResult, parse

__all__ = ["ParseResult", "parse"]

"""Diagnostics for people, scripts and CI: the same facts in four shapes."""

from __future__ import annotations

from eyeflow.compiler.render.data import render_github, render_json
from eyeflow.compiler.render.text import render_short, render_text, summarize

__all__ = ["render_github", "render_json", "render_short", "render_text", "summarize"]

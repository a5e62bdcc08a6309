"""Asking on the terminal: for a secret, which a script gives in the environment, or whether to go on."""

from __future__ import annotations

import os

import typer

from eyeflow.cli.files import usage_error


def can_ask() -> bool:
    """Say whether somebody sits at the terminal that a question would go to."""
    return os.isatty(0)


def confirmed(question: str) -> bool:
    """Ask whether to go on; no answer is a no."""
    return typer.confirm(question, default=False, err=True)


def ask_secret(what: str, variable: str, *, twice: bool = False) -> str:
    """Return the secret in an environment variable, or what is typed, unseen, for the question `what`."""
    if given := os.environ.get(variable):
        return given
    if not can_ask():
        raise usage_error(
            f"nobody can be asked for the {what}", f"set {variable}, or run the command in a terminal", "no terminal"
        )
    return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))

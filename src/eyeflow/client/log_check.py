"""The coordinator's log, checked by who reads it: the chain, the signature, and the head that this user saw last.

The coordinator itself, or who has its disk, could write another log and sign it. But it cannot know which heads users
have seen: each check is a witness for the next one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_json, read_text
from eyeflow.base.reasons import why
from eyeflow.client.answers import Json
from eyeflow.client.profile import config_dir, write_secret
from eyeflow.client.rest import CoordinatorClient
from eyeflow.protocol.coordinator_log import Entry, Head, LogError, SignedHead, follow
from eyeflow.protocol.identity import key_fingerprint

SEEN_FILE = "log-heads.json"
FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked: entries `first` to `head`. `seen`: the head of this user's last check, None for the first one.

    `signed`: up to which entry the coordinator's signature reaches, 0 for none.
    """

    first: int
    head: Head
    signed: int
    seen: Head | None


class SeenHeads:
    """The heads that this user has seen, one for each coordinator. Raises EyeflowError `log_heads` for a bad file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or config_dir() / SEEN_FILE

    def of(self, coordinator_id: str) -> Head | None:
        """Return the head that was seen last of a coordinator."""
        known = self._load().get(coordinator_id)
        try:
            return None if known is None else Head(int(known["number"]), bytes.fromhex(known["hash"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken("an entry is malformed") from error

    def keep(self, coordinator_id: str, head: Head) -> None:
        """Keep a head that was checked."""
        known = self._load() | {coordinator_id: {"number": head.number, "hash": head.hash.hex()}}
        write_secret(self._path, json.dumps(known, indent=1) + "\n")

    def _load(self) -> dict[str, Any]:
        try:
            found = parse_json(read_text(self._path, FILE_BYTES_MAX))
        except FileNotFoundError:
            return {}
        except (OSError, Unreadable) as error:
            raise self._broken(why(error)) from error
        if not isinstance(found, dict):
            raise self._broken("it holds no JSON object")
        return found

    def _broken(self, cause: str) -> EyeflowError:
        return EyeflowError(
            f"{self._path} cannot be used",
            cause=cause,
            next_step="bring it back from a backup; without it, this check cannot compare with the last one",
            code="log_heads",
        )


def check_log(client: CoordinatorClient, seen: SeenHeads) -> Checked:
    """Read the whole log, check it, and keep its head. Raises EyeflowError `log_changed` when it does not fit."""
    log = client.log()
    try:
        coordinator_id, key = str(log["coordinatorId"]), bytes.fromhex(log["publicKey"])
        head, signed = _head(log["head"]), _signed(log["signed"])
        if key_fingerprint(key) != coordinator_id:
            raise LogError("the key is not the coordinator's")
        known = {} if signed is None else {signed.head: "the coordinator signed"}
        if signed is not None:
            signed.check(coordinator_id, key)
        last = seen.of(coordinator_id)
        if last is not None:
            known[last] = "was seen at the last check"
        end = follow(None, entries_after(client, 0), known)
        if end.number < head.number:
            raise LogError(f"the log ends at entry {end.number}, before its head {head.number}")
    except LogError as error:
        raise _changed(client.url, str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _changed(client.url, "what it answered is malformed") from error
    seen.keep(coordinator_id, end)
    return Checked(int(log["first"]), end, signed.head.number if signed is not None else 0, last)


def entries_after(client: CoordinatorClient, number: int) -> Iterator[Entry]:
    """Yield the entries of the log after a number, oldest first."""
    while found := client.log_entries(number):
        yield from (_entry(one) for one in found)
        number = int(found[-1]["number"])


def _entry(one: Json) -> Entry:
    actor, action, subject, detail = (str(one[name]) for name in ("actor", "action", "subject", "detail"))
    return Entry(int(one["number"]), int(one["timeUs"]), actor, action, subject, detail, bytes.fromhex(one["prev"]))


def _head(one: Json) -> Head:
    return Head(int(one["number"]), bytes.fromhex(one["hash"]))


def _signed(one: Json | None) -> SignedHead | None:
    return None if one is None else SignedHead(_head(one), bytes.fromhex(one["signature"]))


def _changed(url: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"the log of the coordinator at {url} was changed",
        cause=cause,
        next_step="compare it with a backup of its store, and look who could write there; a store that was restored "
        "from an older backup looks the same",
        code="log_changed",
        exit_code=ExitCode.PROBLEMS,
    )

"""The refusals of a board, in words: what, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link.messages import Code, Hello

REASONS = {
    1: "the bytes end too early", 2: "it is no .svm program", 3: "another format version or ABI",
    4: "an unknown number where a known one must stand", 5: "padding is not zero", 6: "bytes are left over",
    7: "sections or signatures are out of order", 8: "more entries, slots or depth than the board takes",
    9: "a text is not UTF-8 or too long", 10: "a name is empty, used twice or malformed", 11: "a type is malformed",
    12: "a value is out of range", 13: "slots, arrays or timers do not fit", 14: "a parameter breaks its bounds",
    15: "a site is contradictory", 16: "a trigger is contradictory", 17: "the source map is out of order",
    18: "an operand names what does not exist", 19: "the operand stack does not fit", 20: "control flow is malformed",
    21: "the declared limits are not the proven ones",
}  # fmt: skip
"""The verifier's reasons by their numbers, as in `embassy/svm/src/refusal.rs`."""

COMPILE = (
    "Compile it again for this chip with this version of eyeflow: `eyeflow compile RULE --target {chip} --sign KEY`."
)
AGAIN = (
    "Run the command again. When it stays so, check cable and power supply; `eyeflow mcu status` counts damaged frames."
)

NO_KEY = "0" * 16
NO_SLOTS, NOT_KEPT = "no_slots", "not_kept"
"""Codes: the firmware knows no second slots; the board does not keep a program that it shall run."""
TRUSTS_NOBODY = (
    "the board trusts no key, so it takes no program",
    "Write the line that `eyeflow keys show` calls public into [trust] signers of the board file, then "
    "`eyeflow mcu build` and `eyeflow mcu flash`.",
)

_TEXT: dict[Code, tuple[str, str, str]] = {
    Code.TOO_BIG: (
        "program_too_big",
        "`{rule}` has {size} bytes, the board takes {limit}",
        "Make the rule smaller: fewer texts, states and lists. `eyeflow compile` prints its size.",
    ),
    Code.NO_ROOM: (
        "board_full",
        "the board has no room for `{rule}`, also after cleaning up",
        "Remove a rule that you do not need: `eyeflow mcu list`, `eyeflow mcu remove RULE`.",
    ),
    Code.UNSIGNED: (
        "unsigned",
        "`{rule}` is not signed, and the board runs signed programs only",
        "Sign it: `eyeflow compile RULE --target {chip} --sign KEY`, with the key that the board trusts ({key}).",
    ),
    Code.FOREIGN_SIGNED: (
        "foreign_signature",
        "`{rule}` is signed, but not with the key that the board trusts ({key})",
        "Sign it with that key. Firmware that trusts another key is built and flashed anew: `eyeflow mcu build`.",
    ),
    Code.BAD_SIGNATURE: (
        "bad_signature",
        "a signature on `{rule}` is not valid: the program was changed after it was signed",
        "Get the program again from where it was signed; do not run this one.",
    ),
    Code.OLDER: (
        "older_program",
        "`{rule}` {mine} is older than {theirs}, which the board has had",
        "Raise `version` in the rule and compile it again: a board takes nothing older, not even after `mcu remove`.",
    ),
    Code.FIFTH_PROGRAM: (
        "fifth_program",
        "the board already runs {places} other rules, and `{rule}` would be one too many",
        "Remove one: `eyeflow mcu list`, `eyeflow mcu remove RULE`.",
    ),
    Code.WRONG_ABI: (
        "wrong_abi",
        "`{rule}` is for SVM ABI {abi}, the firmware of the board has ABI {board_abi}",
        "Flash firmware of this version of eyeflow (`eyeflow mcu build`, `eyeflow mcu flash`).",
    ),
    Code.WRONG_CHIP: ("wrong_chip", "`{rule}` is compiled for {target}, this board is {chip}", COMPILE),
    Code.OTHER_DICTIONARY: (
        "other_dictionary",
        "the board has another compression dictionary than it said",
        "Push again; when it stays so, the firmware is inconsistent: build and flash it anew.",
    ),
    Code.BAD_HASH: ("bad_hash", "what arrived is not what was sent: its SHA-256 differs", AGAIN),
    Code.BAD_ENCODING: ("bad_encoding", "the board cannot decompress what arrived", AGAIN),
    Code.UNVERIFIED: ("unverified", "the board's verifier refuses `{rule}`: {reason} (at {at})", COMPILE),
    Code.OTHER_PROGRAM: (
        "other_program",
        "the program that arrived has another rule or sequence than was announced",
        "Compile the rule again; when it stays so, this is a fault of eyeflow: please report it.",
    ),
    Code.INCAPABLE: (
        "incapable_board",
        "`{rule}` needs something that this board does not have; it uses {uses}",
        "Compile it with the file of this board: `eyeflow compile RULE --board board.toml` names what is missing.",
    ),
    Code.STORAGE: (
        "board_storage",
        "the flash of the board failed",
        "The program from before still runs. Try again; when it stays so, the flash is worn out or locked.",
    ),
    Code.NO_TRANSFER: ("no_transfer", "the board was restarted in the middle and forgot the transfer", AGAIN),
    Code.UNKNOWN: (
        "unknown_rule",
        "the board has no rule or parameter `{rule}`",
        "`eyeflow mcu list` shows what it runs.",
    ),
    Code.BAD_VALUE: (
        "bad_value",
        "the value does not fit the parameter of `{rule}`",
        "Give a value of the parameter's type and within its bounds.",
    ),
    Code.MALFORMED: (
        "protocol",
        "the board does not understand the request",
        "Firmware and eyeflow are of different versions: build and flash the firmware anew.",
    ),
    Code.NOT_SUPPORTED: (
        "protocol",
        "the firmware of the board ({firmware}) does not know this request",
        "Build and flash the firmware of this version: `eyeflow mcu build`, `eyeflow mcu flash`.",
    ),
}


def too_little_memory(hello: Hello, rule: str) -> EyeflowError:
    """Return the error for a program that fits the flash of a board, and not the memory that it has for one program."""
    half = (
        " This board asks its gateway for language models, and keeps half of its memory for a rule that waits."
        if hello.delegates_llm
        else ""
    )
    return EyeflowError(
        f"`{rule}` needs more memory than this board has for one program",
        cause=f"its variables, parameters, texts and time words do not fit.{half}",
        next_step="Compile it with the file of this board: `eyeflow compile RULE --board board.toml` says which limit "
        "it exceeds. Use fewer or shorter texts, lists and windows.",
        code="program_too_big",
        exit_code=ExitCode.PROBLEMS,
    )


def no_slots(hello: Hello | None) -> EyeflowError:
    """Return the error for firmware that does not know the requests to stage a program, to switch and to go back."""
    return EyeflowError(
        f"the firmware of the board ({getattr(hello, 'firmware', '?')}) keeps no second program of a rule",
        cause="the board answered NOT_SUPPORTED: it was built before boards could stage programs and go back",
        next_step="Build and flash the firmware of this version (`eyeflow mcu build`, `eyeflow mcu flash`), or deploy "
        "with the strategy immediate.",
        code=NO_SLOTS,
        exit_code=ExitCode.PROBLEMS,
    )


def not_kept(is_switch: bool, program_ids: Sequence[str]) -> EyeflowError:
    """Return the error for programs that a board shall run and does not keep; nothing changed on it."""
    named = ", ".join(one[:12] for one in program_ids)
    slot = "has not staged all of" if is_switch else "does not keep, as the one before the running one,"
    return EyeflowError(
        f"the board {slot} {named}",
        cause="it was flashed anew, somebody pushed another program, or it had no room for both",
        next_step="Deploy again: the program is sent once more.",
        code=NOT_KEPT,
        exit_code=ExitCode.PROBLEMS,
    )


def refusal(code: Code, hello: Hello | None, **facts: object) -> EyeflowError:
    """Return the error for a refusal. `facts`, as far as they are known: rule, size, abi, number, why and at of the
    answer; mine and theirs, two versions; target, what it is compiled for; uses, its pins and capabilities."""
    word, message, next_step = _TEXT.get(code, ("protocol", f"the board answers {code.name}", AGAIN))
    if code in (Code.UNSIGNED, Code.FOREIGN_SIGNED) and getattr(hello, "key", "") == NO_KEY:
        message, next_step = TRUSTS_NOBODY
    known: dict[str, object] = dict.fromkeys(("size", "abi", "number", "at"), "?")
    known |= {
        "rule": "the program",
        "mine": "as it is",
        "theirs": "a program",
        "target": "another chip",
        "uses": "pins and capabilities",
    }
    known |= facts
    known["reason"] = REASONS.get(int(str(facts.get("why", 0))), "its code cannot be proven")
    for field, name in (("chip", "chip"), ("key", "key"), ("firmware", "firmware"), ("places", "places")):
        known[field] = getattr(hello, name, "?")
    known["limit"] = getattr(hello, "program_bytes_max", "?")
    known["board_abi"] = getattr(hello, "abi", "?")
    return EyeflowError(
        message.format(**known),
        cause=f"the board answered {code.name} ({code:#04x})",
        next_step=next_step.format(**known),
        code=word,
        exit_code=ExitCode.ENVIRONMENT if code in ENVIRONMENT_CODES else ExitCode.PROBLEMS,
    )


ENVIRONMENT_CODES = frozenset(
    {Code.STORAGE, Code.BAD_HASH, Code.BAD_ENCODING, Code.NO_TRANSFER, Code.MALFORMED, Code.NOT_SUPPORTED}
)
"""Refusals that are no fault of the program."""

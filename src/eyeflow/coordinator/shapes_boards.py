"""The schemas of boards behind nodes."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, HEX32, NODE_NAME, TEXT, TIME_US, Shape, array, closed, ref
from eyeflow.protocol.boards import BOARD_FILE_CHARS_MAX, DEVICE, RESET_CAUSES, BoardState

_DEVICE: Shape = {"type": "string", "pattern": f"^{DEVICE}$", "examples": ["0001020304050607"]}
_FLAG: Shape = {"type": "boolean", "examples": [True]}
_PROGRAM = closed(
    "A program on a board, in the board's own words",
    {
        **dict.fromkeys(("rule", "version"), TEXT),
        "programId": HEX32,
        **dict.fromkeys(("isRunning", "isGood", "hasPrevious", "hasStaged"), _FLAG),
        **dict.fromkeys(("executions", "traps", "failures"), COUNT),
        "lastFault": TEXT,
    },
)
BOARD = closed(
    "How a board stands; null for a node that is none. `unknown`: its gateway is lost, or has not told. Numbers are "
    "those that were told last",
    {
        "gateway": {**NODE_NAME, "description": "the node that speaks for it"},
        "device": _DEVICE,
        "hasBoardFile": {**_FLAG, "description": "whether its gateway has told its board file"},
        "state": {"type": "string", "enum": [one.value for one in BoardState], "examples": ["online"]},
        "reason": {**TEXT, "description": "a stable word, such as `gateway_lost`"},
        "sinceUs": TIME_US,
        "evidence": TEXT,
        "answeredUs": {**TIME_US, "description": "when it answered its gateway last"},
        "firmware": TEXT,
        "resetCause": {
            "type": "string",
            "enum": ["", *RESET_CAUSES],
            "description": "why it started last; empty: its firmware does not tell",
            "examples": ["power"],
        },
        "stackBytes": COUNT,
        "stackUsedBytes": {**COUNT, "description": "the most that was ever used of it; both 0: not told"},
        **dict.fromkeys(
            (
                *("abi", "boot", "uptimeMs", "flashBytes", "flashUsedBytes", "ramBytes", "ramUsedBytes", "scans"),
                *("scanUsMax", "framesGood", "framesBad", "receivedBad", "askedAgain", "starts"),
            ),
            COUNT,
        ),
        "programs": array(_PROGRAM),
    },
)
BOARD_SHAPES: dict[str, Shape] = {
    "BoardRequest": closed(
        "A board that its gateway lets join, with the gateway's signature: see the link protocol",
        {
            "board": NODE_NAME,
            "publicKey": HEX32,
            "device": _DEVICE,
            "boardFile": {**TEXT, "maxLength": BOARD_FILE_CHARS_MAX, "description": "its board file; empty: none"},
            "nonce": HEX32,
            "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$", "examples": ["ab" * 64]},
        },
    ),
    "BoardFile": closed("The board file of a board; empty when it is not known", {"text": TEXT}),
    "BoardLine": closed(
        "A line that a board logged, as its gateway heard it",
        {
            "number": {**COUNT, "description": "its place among the lines of the board"},
            "timeUs": {**TIME_US, "description": "when its gateway heard it"},
            "level": {**COUNT, "description": "0 debug, 1 info, 2 warning, 3 error", "examples": [2]},
            "text": {**TEXT, "examples": ["door open"]},
            "asks": {
                **array(TEXT),
                "description": "the arguments of a question for a language model; empty: it is a line of the log",
                "examples": [[]],
            },
        },
    ),
    "BoardLines": closed(
        "Lines of a board in order, a page of them",
        {
            "lines": array(ref("BoardLine")),
            "next": {**COUNT, "description": "ask with it as `since` for the lines after these"},
            "missed": {**COUNT, "description": "lines before these that the gateway keeps no more"},
        },
    ),
    "JoinedBoard": closed("The cluster that the board has joined", {"coordinatorId": HEX32}),
}

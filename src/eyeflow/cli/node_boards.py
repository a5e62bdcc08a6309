"""The commands `eyeflow node boards ...`: the boards behind the node that runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeflow.cli.console import JsonFlag, colored, counted, note, progress, say, say_json, table
from eyeflow.cli.mcu_project import BoardOption
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption, load_node_config
from eyeflow.cli.node_texts import board_state
from eyeflow.cli.times import ago

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The boards behind this node.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The board, by name.")]


@app.command("list", context_settings=SETTING_FLAGS)
def list_(context: typer.Context, config: ConfigOption = None, json_: JsonFlag = False) -> None:
    """List the boards behind this node, and serial ports that nobody adopted. Nothing is sent to those."""
    found = _ask(load_node_config(config, context.args).data_dir, "boards.list")
    if json_:
        say_json(found)
        return
    if found["boards"]:
        table(
            ["BOARD", "STATE", "SINCE", "PLACE", "CHIP", "FIRMWARE", "RULES"],
            [_row(board) for board in found["boards"]],
        )
    else:
        note("no boards yet: eyeflow node boards adopt PORT --name NAME")
    for board in found["boards"]:
        if board["state"] not in ("online", "updating"):
            say(f"{board['name']}: {board['evidence']}")
        if board["records"]["trouble"]:
            say(f"{board['name']}: its records are not taken: {board['records']['trouble']}")
        if lost := sum(board["records"]["lost"].values()):
            say(f"{board['name']}: {counted(lost, 'record')} lost, as its audit says")
        if board["coordinator"]["state"] == "failed":
            say(f"{board['name']}: not in the cluster: {board['coordinator']['detail']}")
    for port in found["unknown"]:
        about = " ".join(text for text in (port["product"], port["usbSerial"]) if text)
        say(f"not adopted: {port['port']}  {about}".rstrip())


def _row(board: Json) -> list[str]:
    rules = ", ".join(one["rule"] for one in board["rules"])
    since = ago(board["sinceUs"])
    what = [board["chip"] or "-", board["firmware"] or "-", rules or "-"]
    return [board["name"], colored(board_state(board)), since, board["place"], *what]


@app.command("adopt", context_settings=SETTING_FLAGS)
def adopt(
    context: typer.Context,
    port: Annotated[str, typer.Argument(metavar="PORT", help="Its serial port: /dev/ttyACM0, or socket://HOST:PORT.")],
    name: Annotated[str, typer.Option("--name", help="Its name in the cluster: node-mcu-01.")],
    board: BoardOption = None,
    baud: Annotated[
        int | None, typer.Option("--baud", min=1200, help="Baud rate of its link (default: of the board file).")
    ] = None,
    config: ConfigOption = None,
    json_: JsonFlag = False,
) -> None:
    """Let this node own a board's line and speak for it, from now on and after each start.

    The board must answer. A USB port is kept by its serial number, so it is found again under another name.
    """
    data_dir, text = load_node_config(config, context.args).data_dir, ""
    if board is not None:
        from eyeflow.mcu.board import parse_board, read_board

        text = read_board(board)
        baud = baud or parse_board(text, board.name).link.baud
    with progress("asking the board who it is"):
        more = {"port": port, "name": name, "baud": baud or 115_200, "board_text": text}
        found = _ask(data_dir, "boards.adopt", **more)
    if json_:
        say_json(found)
    else:
        say(f"{name} is a board of this node: {found['place']}")


@app.command("rename", context_settings=SETTING_FLAGS)
def rename(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    config: ConfigOption = None,
    json_: JsonFlag = False,
) -> None:
    """Give an adopted board another name. In the cluster it is another node from then on."""
    found = _ask(load_node_config(config, context.args).data_dir, "boards.rename", name=name, to=to)
    if json_:
        say_json(found)
    else:
        say(f"{name} is {to} now")


@app.command("release", context_settings=SETTING_FLAGS)
def release(context: typer.Context, name: Name, config: ConfigOption = None, json_: JsonFlag = False) -> None:
    """Give a board's line back and forget it; the board runs on. One of the configuration file forgets its chip."""
    found = _ask(load_node_config(config, context.args).data_dir, "boards.release", name=name)
    if json_:
        say_json(found)
        return
    say(f"{name} is released; it runs on")
    if found["isDeclared"]:
        note("it stands in the configuration file: the next board that answers there takes the name")


def _ask(data_dir: Path, what: str, **more: object) -> Json:
    from eyeflow.node.status.local_socket import ask

    return ask(data_dir, what, **more)

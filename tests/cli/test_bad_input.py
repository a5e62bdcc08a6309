"""Every bad input gets a message that says what, why and what to do, the right exit code, and loses nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .conftest import RULE, Command
from .test_foreign_text import COMMANDS

OK, PROBLEMS, USAGE, ENVIRONMENT = 0, 1, 2, 3


def wrapped(body: str) -> str:
    return RULE.replace("    seen = seen + 1\n", f"    {body}\n    seen = seen + 1\n")


def test_a_missing_file_names_a_near_one(eyeflow: Command, rule: Path) -> None:
    ran = eyeflow("check", rule.with_name("lamb.eye"))
    assert ran.code == ENVIRONMENT
    assert "there is no file" in ran.err and "did you mean" in ran.err and "lamp.eye" in ran.err


def test_a_folder_without_rules(eyeflow: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = eyeflow("check", tmp_path / "empty")
    assert ran.code == ENVIRONMENT and "no rules in" in ran.err


def test_a_rule_that_does_not_compile_has_no_coverage(eyeflow: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.eye"
    path.write_text("rule bad {\n}\n")
    for options in (["--cov"], ["--cov-min", "50"]):
        ran = eyeflow("test", path, *options)
        assert ran.code == PROBLEMS and "1 did not compile" in ran.out and "100.0" not in ran.out + ran.err, ran.out
    assert eyeflow("test", path, "--cov", "--json").json["branchPercent"] is None


def test_a_program_where_a_folder_is_not_read(eyeflow: Command, tmp_path: Path) -> None:
    ran = eyeflow("inspect", tmp_path)
    assert ran.code == ENVIRONMENT and "cannot read" in ran.err


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"", PROBLEMS, "holds no rule"),
        (b"# only a comment\n", PROBLEMS, "EF01"),
        (b"rule caf\xe9 {", PROBLEMS, "not UTF-8"),
        (b"rule x {\x00}", PROBLEMS, "NUL"),
        (b"rule x {\n" + b"#" * 10_000_000, PROBLEMS, "too large"),
        (b"rule x { version \"1.0.0\"\n on every 1s\n let a = " + b"(" * 10_000 + b"1" + b")" * 10_000 + b"\n}", PROBLEMS, "EF01"),
        (b"rule x { version \"1.0.0\"\n on every 1s\n" + b"if true {\n" * 10_000 + b"}\n" * 10_000 + b"}", PROBLEMS, "EF01"),
        (b"rule x { version \"1.0.0\"\n on every 1s\n let a = " + b"not " * 10_000 + b"true\n}", PROBLEMS, "EF01"),
        (b"rule x { version \"1.0.0\"\n on every 1s\n let a = 1" + b" + 1" * 10_000 + b"\n}", PROBLEMS, "EF01"),
    ],
    ids=["empty", "comment", "latin1", "nul", "10MB", "parentheses", "blocks", "nots", "sum"],
)  # fmt: skip
def test_sources_that_are_no_rule(eyeflow: Command, tmp_path: Path, data: bytes, code: int, text: str) -> None:
    path = tmp_path / "bad.eye"
    path.write_bytes(data)
    ran = eyeflow("check", path)
    assert ran.code == code and text in ran.err, ran.err[:500]
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("gpio.set_pim(LAMP, HIGH)", ["gpio.set_pim", "gpio.set_pin"]),
        ("let n: int = 1.5", ["int", "float"]),
        ("let n = reading.lix", ["lix", "lux"]),
        ('for i in 0..seen { log.info("x") }', ["max"]),
        ("while true { }", ["while"]),
    ],
    ids=["capability", "type", "field", "unbounded", "while"],
)
def test_mistakes_in_a_rule_say_what_to_write(eyeflow: Command, tmp_path: Path, body: str, texts: list[str]) -> None:
    path = tmp_path / "lamp.eye"
    path.write_text(wrapped(body))
    ran = eyeflow("check", path)
    assert ran.code == PROBLEMS and "help:" in ran.err, ran.err
    assert all(text in ran.err for text in texts), ran.err
    found = eyeflow("check", path, "--json")
    assert (
        found.code == PROBLEMS and found.json["errors"] >= 1 and found.json["diagnostics"][0]["code"].startswith("EF")
    )
    annotated = eyeflow("check", path, "--format", "github")
    assert annotated.out.startswith("::error file=")


def test_three_mistakes_give_three_messages(eyeflow: Command, tmp_path: Path) -> None:
    path = tmp_path / "lamp.eye"
    path.write_text(wrapped("let a = nope\n    gpio.set_pim(LAMP, HIGH)\n    let b: int = true"))
    assert eyeflow("check", path, "--json").json["errors"] == 3


def test_over_a_chips_limits(eyeflow: Command, tmp_path: Path) -> None:
    path = tmp_path / "lamp.eye"
    path.write_text(
        'rule big {\n version "1.0.0"\n state log: list(int, 300) = []\n on every 1s\n append(log, int(adc.read_channel(0)))\n}'
    )
    ran = eyeflow("compile", path, "--target", "RP2040")
    assert ran.code == PROBLEMS and "RP2040 allows" in ran.err
    assert not path.with_suffix(".svm").exists()
    unknown = eyeflow("compile", path, "--target", "STM32F401")
    assert unknown.code == USAGE and "did you mean STM32F401CC" in unknown.err


@pytest.fixture
def program(eyeflow: Command, rule: Path) -> Path:
    assert eyeflow("keys", "new").code == OK
    assert eyeflow("compile", rule, "--sign", "default").code == OK
    return rule.with_suffix(".svm")


def test_damaged_programs(eyeflow: Command, program: Path) -> None:
    whole = program.read_bytes()
    rng = random.Random(4)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(4)] + [whole + b"x", b"", b"ELF?"]
    for data in damaged:
        program.write_bytes(data)
        ran = eyeflow("inspect", program)
        assert ran.code == PROBLEMS and ran.err.startswith("error:"), (len(data), ran.err)


def test_wrong_passphrase_and_key_rules(eyeflow: Command, rule: Path) -> None:
    secret = {"EYEFLOW_PASSPHRASE": "correct horse"}
    assert eyeflow("keys", "new", "safe", "--passphrase", env=secret).code == OK
    wrong = eyeflow("compile", rule, "--sign", "safe", env={"EYEFLOW_PASSPHRASE": "wrong"})
    assert wrong.code == PROBLEMS and "passphrase" in wrong.err
    assert eyeflow("compile", rule, "--sign", "safe").code != OK
    assert eyeflow("compile", rule, "--sign", "safe", env=secret).code == OK
    again = eyeflow("keys", "new", "safe")
    assert again.code != OK and "never overwritten" in again.err
    assert "did you mean" in eyeflow("compile", rule, "--sign", "saef").err


def test_a_recording_without_a_field(eyeflow: Command, rule: Path, recording: Path) -> None:
    recording.write_text(recording.read_text().replace("lux", "lumen"))
    ran = eyeflow("run", rule, "--events", recording)
    assert ran.code != OK and "no column `lux`" in ran.err and "lumen" in ran.err


def test_text_for_a_number_is_a_rejected_event(eyeflow: Command, rule: Path, recording: Path) -> None:
    recording.write_text(recording.read_text().replace(",5\n", ",five\n"))
    ran = eyeflow("run", rule, "--events", recording)
    assert ran.code == OK and "1 event rejected:" in ran.err and "line 3" in ran.err and "five" in ran.err
    told = eyeflow("run", rule, "--events", recording, "--json")
    assert '"rejected": 1' in told.out


@pytest.mark.parametrize("data", [b"", b"\xff\xfe1\x002", b"a,b\n1,2\n"], ids=["empty", "utf16", "no timestamp"])
def test_recordings_that_cannot_be_read(eyeflow: Command, rule: Path, recording: Path, data: bytes) -> None:
    recording.write_bytes(data)
    ran = eyeflow("run", rule, "--events", recording)
    assert ran.code in (PROBLEMS, USAGE, ENVIRONMENT) and ran.err.startswith("error:"), ran.err


def test_parameters_and_options(eyeflow: Command, rule: Path, recording: Path) -> None:
    for options, text in [
        (["--param", "limt=3"], "did you mean limit"),
        (["--param", "limit=bright"], "--param limit: expected a number, got the text"),
        (["--param", "limit=1000"], "100"),
        (["--speed", "fast"], "no speed"),
        (["--timezone", "Mars/Olympus"], "no time zone"),
        (["--read", "what"], "Write for example"),
    ]:
        ran = eyeflow("run", rule, "--events", recording, *options)
        assert ran.code in (PROBLEMS, USAGE) and text in ran.err, (options, ran.err)


def test_no_coordinator(eyeflow: Command, rule: Path) -> None:
    unknown = eyeflow("status")
    assert unknown.code == ENVIRONMENT and "eyeflow coordinator start" in unknown.err
    away = {"EYEFLOW_COORDINATOR": "http://127.0.0.1:9", "EYEFLOW_TOKEN": "x"}
    down = eyeflow("status", env=away)
    assert down.code == ENVIRONMENT and "cannot reach the coordinator" in down.err
    told = eyeflow("status", "--json", env=away)
    assert told.code == ENVIRONMENT and told.json["error"]["code"] == "unreachable"


def test_a_full_disk(eyeflow: Command, rule: Path) -> None:
    ran = eyeflow("compile", rule, "-o", "/dev/full")
    assert ran.code == ENVIRONMENT and "cannot write" in ran.err and "No space left" in ran.err
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_cannot_be(eyeflow: Command, rule: Path) -> None:
    ran = eyeflow("compile", rule, "-o", "/dev/full/x.svm")
    assert ran.code == ENVIRONMENT and "cannot write" in ran.err


def test_output_that_is_thrown_away(eyeflow: Command, rule: Path) -> None:
    assert eyeflow("compile", rule, "-o", "/dev/null").code == OK
    assert Path("/dev/null").is_char_device()


def test_usage_errors(eyeflow: Command, rule: Path) -> None:
    assert eyeflow("chek").code == USAGE
    assert eyeflow("deploy", rule).code == USAGE
    assert eyeflow("explain", "EF9999").code == PROBLEMS


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str], rule: Path) -> None:
    import subprocess
    import sys

    shell = f"{sys.executable} -m eyeflow explain | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, env=environment, timeout=120)
    assert done.stdout and not done.stderr


@pytest.mark.parametrize("command", ["start", "status", "join"])
def test_a_node_without_a_configuration(
    eyeflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = eyeflow("node", command, *(["http://127.0.0.1:1", "--token", "t"] if command == "join" else []))
    assert ran.code == ENVIRONMENT and "no eyeflow-svm.toml in this folder" in ran.err
    assert "--config" in ran.err and "eyeflow node init" in ran.err
    named = eyeflow("node", "status", "--node-name", "n", "--node-data-dir", str(tmp_path))
    assert "no node answers" in named.err, "flags alone are a configuration"


def test_junit_of_a_rule_that_does_not_compile(eyeflow: Command, rule: Path, tmp_path: Path) -> None:
    rule.with_name("broken.eye").write_text(wrapped("let x = nobody"))
    report = tmp_path / "report.xml"
    ran = eyeflow("test", rule.parent, "--junit", report)
    assert ran.code == PROBLEMS
    text = report.read_text()
    assert 'errors="1"' in text and "EF0203" in text and "broken.eye" in text


@pytest.mark.parametrize("name", ["bad name", "", "-x", 'x"\n[grants]\nallow = ["*"]\n#', "n" * 64])
def test_a_name_that_no_node_can_have_is_not_written(eyeflow: Command, tmp_path: Path, name: str) -> None:
    ran = eyeflow("node", "init", "--out", tmp_path / "node.toml", "--", name)
    assert ran.code == USAGE and "no name for a node" in ran.err and not (tmp_path / "node.toml").exists()


def takes_data_dir(path: tuple[str, ...]) -> bool:
    return any("--data-dir" in param.opts for param in COMMANDS[path].params)


OF_A_STORE = [path for path in COMMANDS if takes_data_dir(path) and path[0] in ("audit", "buffer", "executions", "why")]


@pytest.mark.parametrize("path", OF_A_STORE, ids=" ".join)
def test_a_misspelt_option_is_not_left_out_because_the_store_is_named(
    eyeflow: Command, tmp_path: Path, path: tuple[str, ...]
) -> None:
    """`audit verify --kye KEY` would check with the key that a forger left beside the store."""
    arguments = {"why": ["n:1:2"], "export": ["x.audit"]}.get(path[-1], [])
    for option, why in (("--kye", "there is no option --kye"), ("--node-name", "--node-name sets nothing")):
        ran = eyeflow(*path, *arguments, "--data-dir", tmp_path / "data", option, "abcd")
        assert ran.code == USAGE and why in ran.err, (ran.code, ran.err)


def test_all_commands_that_read_a_store_are_tried() -> None:
    assert len(OF_A_STORE) >= 8, OF_A_STORE


@pytest.mark.parametrize(
    "arguments",
    [
        ("nodes", "show", "\udcff"),
        ("executions", "--key", "\udcff"),
        ("why", "n:1:2", "--source", "\udcff.eye"),
    ],
)
def test_an_argument_that_is_no_utf_8_is_said_and_no_bug(eyeflow: Command, arguments: tuple[str, ...]) -> None:
    ran = eyeflow(*arguments, env={"EYEFLOW_COORDINATOR": "http://127.0.0.1:1", "EYEFLOW_TOKEN": "efa_x"})
    if "--source" in arguments:  # a path may be of any bytes
        assert ran.code == ENVIRONMENT and "there is no file" in ran.err
    else:
        assert ran.code == USAGE and "\\udcff' is no text in UTF-8" in ran.err, ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("audit", "verify", "x.audit", "--data-dir", "."), USAGE, "x.audit is one argument too many"),
        (("audit", "show", "--from", "0", "--data-dir", "."), USAGE, "--from"),
        (("status", "--limit", "1001"), USAGE, "--limit"),
        (("why", "n:1:2", "--source", "nope.eye"), ENVIRONMENT, "there is no file nope.eye"),
        (("nodes", "show", "a/b"), PROBLEMS, "`a/b` is no name and no id"),
    ],
)
def test_what_a_command_cannot_take_is_said(eyeflow: Command, arguments: tuple[str, ...], code: int, text: str) -> None:
    ran = eyeflow(*arguments, env={"EYEFLOW_COORDINATOR": "http://127.0.0.1:1", "EYEFLOW_TOKEN": "efa_x"})
    assert (ran.code, text in ran.err) == (code, True), ran.err

"""`eyeflow node kafka-setup`: from a folder, twice, without Maven, and from what is no Kafka."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.kafka import HOME
from eyeflow.base.errors import EyeflowError
from eyeflow.node.broker import home as home_module
from eyeflow.node.broker.home import ARCHIVE, MARK, UNUSED, cluster_id, find_home, set_up


def test_it_comes_from_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr(home_module, "_archive", lambda home, java: made.append(home.directory))
    (tmp_path / "from" / "libs").mkdir(parents=True)
    for jar in (HOME / "libs").iterdir():
        (tmp_path / "from" / "libs" / jar.name).symlink_to(jar)
    (tmp_path / "from" / "libs" / f"{UNUSED[0]}-1.jar").write_text("never loaded")
    told: list[str] = []
    home = set_up(tmp_path / "to", "java", tmp_path / "from", told.append)
    assert home == find_home(tmp_path / "to") and home.version == find_home(HOME).version
    assert not list((tmp_path / "to").rglob(f"{UNUSED[0]}*")) and made == [tmp_path / "to"]
    (tmp_path / "to" / ARCHIVE).touch()
    told.clear()
    assert set_up(tmp_path / "to", "java", tmp_path / "from", told.append) == home and told == []


@pytest.mark.parametrize("names", [[], ["kafka_2.13-4.4.0.jar", "kafka_2.13-4.3.0.jar"]])
def test_a_folder_that_is_no_kafka_is_refused_and_nothing_is_left(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "from").mkdir()
    for name in names:
        (tmp_path / "from" / name).touch()
    with pytest.raises(EyeflowError, match="is not the folder of one Kafka") as caught:
        set_up(tmp_path / "to", "java", tmp_path / "from", lambda text: None)
    assert caught.value.code == "bad_kafka" and sorted(path.name for path in tmp_path.iterdir()) == ["from"]


def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(EyeflowError) as caught:
        set_up(tmp_path / "mine", "java", HOME, lambda text: None)
    assert caught.value.code == "kafka_home" and "no Kafka of eyeflow" in caught.value.message
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EyeflowError) as caught:
        set_up(tmp_path / "file" / "kafka", "java", HOME, lambda text: None)
    assert caught.value.code == "kafka_home" and caught.value.cause and "--home" in caught.value.next_step


def test_without_maven_it_is_said_how_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "java_version", lambda java: 17)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EyeflowError) as caught:
        set_up(tmp_path / "to", "java", None, lambda text: None)
    assert caught.value.code == "no_maven" and "--from" in caught.value.next_step


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "4", "jars": ["gone.jar"]}'])
def test_one_that_is_damaged_is_not_there(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    with pytest.raises(EyeflowError) as caught:
        find_home(tmp_path)
    assert caught.value.code == "no_kafka" and "kafka-setup" in caught.value.next_step


def test_no_name_of_a_cluster_looks_like_an_option() -> None:
    names = {cluster_id() for _ in range(2000)}
    assert len(names) == 2000 and not any(name.startswith("-") for name in names)
    assert {len(name) for name in names} == {22}


def test_what_was_set_up_names_its_jars() -> None:
    assert json.loads((HOME / MARK).read_text())["jars"] == list(find_home(HOME).jars)

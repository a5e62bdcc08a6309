"""A store whose file is damaged, gone or another one says so; and what it counts meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from components.failing_disk import registered_disk
from components.node_sim import program
from eyeflow.base.errors import EyeflowError
from eyeflow.node.run_key import active
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.schema import VERSION
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Draft, StorageError, StoreCounters, StoreDamaged, Unrecorded
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode
from unit.node.store.stores import KEY, MB, PROGRAM, Time, batch, draft, limits, numbers_of, open_store, slot

QUESTIONS: dict[str, Callable[[Store], object]] = {
    "restore": lambda store: store.restore(),
    "audit_range": lambda store: store.audit_range(1, 10),
    "record": lambda store: store.record(1),
    "drop_aged": lambda store: store.drop_aged(),
    "commit": lambda store: store.commit(batch(2)),
    "recover": lambda store: store.recover(),
    "clock_was_set": lambda store: store.clock_was_set(10**17),
    "close": lambda store: store.close(clean=True),
    "program": lambda store: store.program(PROGRAM),
}
NEEDS = dict.fromkeys(["restore", "recover", "clock_was_set", "close"], "meta") | {"program": "programs"}
"""A table that a question needs; `audit` where nothing is said."""


@pytest.mark.parametrize("name", QUESTIONS)
def test_damage_is_said_whatever_is_asked(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path)
    store.commit(batch(1))
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute(f"DROP TABLE {NEEDS.get(name, 'audit')}")
    db.close()
    with pytest.raises(StoreDamaged) as error:
        QUESTIONS[name](store)
    assert str(tmp_path / STORE_NAME) in error.value.message and "tables" in error.value.cause


def test_damage_that_shows_only_when_the_chain_is_read_again_is_said(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(1))
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute("DROP TABLE audit")
    db.close()
    with pytest.raises(StoreDamaged):
        store.recover()
    with pytest.raises(StoreDamaged):
        open_store(tmp_path)


def test_the_store_of_another_node_is_named(tmp_path: Path) -> None:
    open_store(tmp_path).close(clean=True)
    mine = (f"Its key is {KEY.public_key.hex()}.", "Its node name is n1.")
    for name, key, cause in (("n1", Identity(bytes(32)), mine[0]), ("n2", KEY, mine[1])):
        with pytest.raises(EyeflowError) as error:
            Store(tmp_path, name, key, limits())
        assert error.value.code == "store_foreign" and str(tmp_path) in error.value.message
        assert error.value.cause == cause and error.value.next_step


def test_what_a_store_says_of_itself_has_these_names_in_the_file(tmp_path: Path) -> None:
    """An older and a newer eyeflow look for the same ones."""
    store = open_store(tmp_path)
    assert (store.trouble, store.altered_seq) == (None, 0)
    found = dict(store._file.db.execute("SELECT key, value FROM meta"))
    epoch = Time().us // 1_000_000
    assert found == {
        "epoch": epoch,
        "replaced_epoch": 0,
        "node": "n1",
        "public_key": KEY.public_key,
        "lost_total": 0,
    }
    store.close(clean=True)


def test_a_store_from_before_epochs_were_noted_has_replaced_none(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store._file.db.execute("DELETE FROM meta WHERE key = 'replaced_epoch'")
    store.close(clean=True)
    store = open_store(tmp_path)
    assert store.replaced_epoch == 0, "not its own, which is noted beside it"
    store.close(clean=True)


def test_which_store_was_replaced_is_still_known_after_a_restart(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.close(clean=True)
    (tmp_path / STORE_NAME).unlink()
    for _ in range(2):
        store = open_store(tmp_path)
        assert (store.replaced_epoch, store.epoch) == (first.epoch, first.epoch + 1)
        store.close(clean=True)


def test_a_value_that_the_disk_does_not_take_is_trouble_of_the_disk(tmp_path: Path) -> None:
    with registered_disk("meta") as disk:
        store = open_store(tmp_path, vfs=disk.name)
        disk.write_errors = True
        with pytest.raises(StorageError) as error:
            store.clock_was_set(10**18)
        assert error.value.cause == f"{tmp_path / STORE_NAME}: the disk fails to read or write"
        disk.write_errors = False
        store.recover()
        store.close(clean=True)


# --- a file that is gone, or another one -------------------------------------------------------------------------


def waits(store: Store, code: str) -> None:
    with pytest.raises(StorageError) as error:
        store.recover()
    assert (error.value.code, error.value.full) == (code, False)
    assert error.value.cause and error.value.next_step


def test_a_store_that_is_gone_is_waited_for_and_no_new_one_begins(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(1))
    moved = {file: file.with_name(f"away-{file.name}") for file in tmp_path.glob("node.db*")}
    for file, away in moved.items():
        file.rename(away)
    for _ in range(2):
        waits(store, "store_replaced")
    assert not (tmp_path / STORE_NAME).exists()
    for file, away in moved.items():
        away.rename(file)
    assert store.recover() is False
    store.commit(batch(2))
    assert numbers_of(store.audit_range(1, 10)) == [1, 2]
    store.close(clean=True)


def test_another_store_in_its_place_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Store(tmp_path / "other", "n1", KEY, limits(), now_us=lambda: 5_000_000)
    other.close(clean=True)
    store = open_store(tmp_path)
    store.commit(batch(1))
    for file in tmp_path.glob("node.db*"):
        file.unlink()
    (tmp_path / "other" / STORE_NAME).rename(tmp_path / STORE_NAME)
    waits(store, "store_replaced")


def test_nothing_is_written_into_a_file_that_was_removed(tmp_path: Path) -> None:
    """SQLite would take it, on a disk that works, and all of it would be gone when the node ends."""
    store = open_store(tmp_path)
    store.commit(batch(1))
    for file in tmp_path.glob("node.db*"):
        file.unlink()
    with pytest.raises(StorageError) as refused:
        store.commit(batch(2))
    assert (refused.value.code, refused.value.cause) == ("store_replaced", "There is no such file any more.")
    waits(store, "store_replaced")


def test_another_file_with_its_log_in_its_place_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Store(tmp_path / "other", "n1", KEY, limits(), now_us=lambda: 5_000_000)
    other.commit(batch(1))
    store = open_store(tmp_path)
    store.commit(batch(1))
    for file in tmp_path.glob("node.db*"):
        file.unlink()
    for file in (tmp_path / "other").glob("node.db*"):
        shutil.copy(file, tmp_path)
    with pytest.raises(StorageError) as refused:
        store.commit(batch(2))
    assert (refused.value.code, refused.value.cause) == ("store_replaced", "Another file is in its place.")
    before = {file.name: file.read_bytes() for file in tmp_path.glob("node.db*")}
    assert before["node.db-wal"]
    store.abandon()
    assert {file.name: file.read_bytes() for file in tmp_path.glob("node.db*")} == before
    other.abandon()


def test_a_file_that_a_newer_eyeflow_wrote_meanwhile_is_waited_for(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(batch(1))
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.pragma("user_version", VERSION + 1)
    db.close()
    waits(store, "store_version")


def test_a_disk_that_answers_nothing_is_trouble_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    asked = Path.stat

    def stat(path: Path, **more: bool) -> os.stat_result:
        if path.name == STORE_NAME:
            raise OSError(5, "Input/output error")
        return asked(path, **more)

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(StorageError) as error:
        store.recover()
    assert error.value.code == "disk_failed" and "nput/output" in error.value.cause
    assert str(tmp_path / STORE_NAME) in error.value.cause


def test_a_store_that_began_within_a_second_is_opened_anew_as_the_same(tmp_path: Path) -> None:
    time = Time()
    time.us += 500_000
    store = open_store(tmp_path, time=time)
    assert store.epoch == time.us // 1_000_000
    assert store.recover() is False
    store.close(clean=True)


def test_of_a_batch_without_records_nobody_says_that_it_was_written_after_all(tmp_path: Path) -> None:
    with registered_disk("no-records") as disk:
        store = open_store(tmp_path, vfs=disk.name)
        store.commit(batch(1))
        disk.write_errors = True
        with pytest.raises(StorageError):
            store.commit(Batch(put_meta=[("x", b"y")]))
        disk.write_errors = False
        assert store.recover() is False and store.restore().kept == {}
        store.close(clean=True)


# --- what it counts ----------------------------------------------------------------------------------------------


def test_it_counts_what_it_did(tmp_path: Path) -> None:
    time = Time()
    with registered_disk("counted") as disk:
        store = open_store(tmp_path, limits(age_us=1_000_000), time=time, vfs=disk.name)
        assert store.counters == StoreCounters()
        store.commit(batch(*range(100)))
        store.commit(Batch(put_meta=[("x", b"y")]))
        for _ in range(2):
            disk.write_errors = True
            with pytest.raises(StorageError):
                store.commit(batch(1))
            disk.write_errors = False
            store.recover()
        time.us += 1_000_050
        assert store.drop_aged() == 50
        time.us += 10
        assert store.drop_aged() == 10
        wanted = StoreCounters(2, 100, dropped_records=60, gaps=2, failed_commits=2, recoveries=2)
        assert store.counters == wanted
        store.close(clean=True)


def test_what_was_lost_is_counted_over_errors_and_restarts(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Batch([draft(1)], unrecorded=Unrecorded(12, 5, 9)))
    store.recover()
    store.commit(Batch([draft(2)], unrecorded=Unrecorded(3, 5, 9)))
    store.close(clean=True)
    store = open_store(tmp_path)
    store.commit(Batch([draft(3)], unrecorded=Unrecorded(1, 5, 9)))
    report = verify_chain(store.audit_range(1, 10), KEY.public_key)
    assert report.holds and [gap.lost_total for gap in report.lost] == [12, 15, 16]
    store.close(clean=True)


def test_what_was_dropped_is_counted_on_over_a_restart(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(100)))
    time.us += 1_000_050
    assert store.drop_aged() == 50
    store.close(clean=True)
    store = open_store(tmp_path)
    store.commit(Batch([draft(1)], unrecorded=Unrecorded(1, 5, 9)))
    assert verify_chain(store.audit_range(1, 200), KEY.public_key).lost[-1].lost_total == 51
    store.close(clean=True)


def test_the_first_record_ages_like_any_other(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(0, 10))
    time.us += 1_000_005
    assert store.drop_aged() == 1
    assert (store.counters.dropped_records, store.counters.gaps) == (1, 1)
    store.close(clean=True)


def test_the_oldest_record_may_be_of_a_clock_that_was_never_set(tmp_path: Path) -> None:
    """A board without a battery for its clock begins at 1970."""
    store = open_store(tmp_path)
    for number in range(3):
        store.commit(Batch([Draft(number, StopBody("x"))]))
    assert (store.depth.first_seq, store.depth.oldest_us) == (1, 0)
    store.close(clean=True)


def test_the_only_record_is_never_dropped(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(1))
    time.us += 10_000_000
    assert store.drop_aged() == 0 and numbers_of(store.audit_range(1, 10)) == [1]
    store.close(clean=True)


def test_executions_are_found_with_the_programs_that_ran_them(tmp_path: Path) -> None:
    data = program('rule r {\n version "1.0.0"\n on every 1s\n log.info("x")\n}\n')
    program_id = bytes.fromhex(decode(data).program_id)
    store = open_store(tmp_path)
    mine, gone = draft(1), draft(2)
    mine = mine._replace(body=replace(mine.body, program=program_id))
    row = replace(slot("r", Slot.ACTIVE), program_id=program_id, program=data)
    store.commit(Batch([mine, gone, Draft(3, StopBody("x"))], put_slots=[row]))
    assert (store.program(program_id), store.program(PROGRAM)) == (data, b"")
    assert store.executions([3, 2, 1, 99]) == {1: (mine.body, decode(data).program)}
    store.close(clean=True)


def test_one_record_is_found_by_its_number(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(10)))
    third = store.record(3)
    assert third is not None and (third.seq, third.body) == (3, draft(2).body)
    assert store.record(11) is None
    time.us += 1_000_003
    assert store.drop_aged() == 3
    assert store.record(3) is None, "it is gone, and the next one is another"
    fourth = store.record(4)
    assert fourth is not None and fourth.seq == 4
    store.close(clean=True)


# --- what it drops -----------------------------------------------------------------------------------------------


def test_when_it_is_full_a_share_of_the_records_goes_at_once(tmp_path: Path) -> None:
    """One part in 16, at least 16: record by record, each commit would write a gap."""
    store, number, first_seq = open_store(tmp_path, limits(2)), 0, 1
    shares: list[int] = []
    while len(shares) < 8:
        gaps = store.counters.gaps
        before = store.head[0]
        store.commit(batch(*range(number, number + 10), size=1000))
        number += 10
        if store.counters.gaps == gaps + 1:
            lost = verify_chain(store.audit_range(1, 10**6), KEY.public_key).lost[-1]
            assert lost.first_seq == first_seq
            assert lost.count == max(16, (before - first_seq + 1) // 16)
            first_seq = lost.last_seq + 1
            shares.append(lost.count)
    assert len(set(shares)) > 1 and max(shares) > 16
    store.close(clean=True)


def test_a_program_that_is_larger_than_an_empty_store_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path, limits(2))
    large = replace(slot("r", Slot.ACTIVE), program=bytes(4 * MB))
    with pytest.raises(StorageError) as error:
        store.commit(Batch(put_slots=[large]))
    assert error.value.full
    store.recover()
    assert store.restore().slots == ()
    store.commit(Batch(put_slots=[replace(large, program=b"small")]))
    assert [(row.key, row.program_id) for row in store.restore().slots] == [(active("r"), PROGRAM)]
    store.close(clean=True)


@pytest.mark.parametrize(("step_us", "is_a_step"), [(1_000, True), (-1_000, True), (999, False), (-999, False)])
def test_from_one_hundredth_of_the_age_on_a_step_of_the_clock_is_one(
    tmp_path: Path, step_us: int, is_a_step: bool
) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=100_000), time=time)
    store.commit(batch(*range(10)))
    store.clock_was_set(step_us)
    time.us += 200_000
    assert store.drop_aged() == (0 if is_a_step else 9)
    store.close(clean=True)


def test_after_a_step_the_next_ones_count_from_zero(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=100_000), time=time)
    store.clock_was_set(1_000)
    store.commit(batch(*range(10)))
    store.clock_was_set(999)
    time.us += 200_000
    assert store.drop_aged() == 9
    store.close(clean=True)


def test_small_steps_to_and_fro_are_no_step(tmp_path: Path) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=100_000), time=time)
    store.commit(batch(*range(10)))
    for _ in range(5):
        store.clock_was_set(900)
        store.clock_was_set(-900)
    time.us += 200_000
    assert store.drop_aged() == 9
    store.close(clean=True)


def test_a_record_with_another_time_beside_it_is_kept_until_it_is_put_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    store = open_store(tmp_path, limits(age_us=1_000_000), time=time)
    store.commit(batch(*range(100)))
    db = apsw.Connection(str(tmp_path / STORE_NAME))
    db.execute("UPDATE audit SET time_us = 0 WHERE seq = 89")
    assert store.drop_aged() == 0 and store.altered_seq == 89
    (said,) = caplog.records
    assert "audit record 89" in said.getMessage() and str(tmp_path) in said.getMessage()
    assert store.drop_aged() == 0 and len(caplog.records) == 1, "said once"
    db.execute("UPDATE audit SET time_us = ? WHERE seq = 89", (draft(88).time_us,))
    db.close()
    time.us += 1_000_089
    assert store.drop_aged() == 89 and store.altered_seq == 0
    store.close(clean=True)

from __future__ import annotations

import base64
import datetime
from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.client.keyring import Keyring, keys_dir, read_public_key
from eyeflow.svm.signing import fingerprint, public_key_of

DAY = datetime.date(2026, 11, 24)
OURS, THEIRS = public_key_of(bytes(range(32))), public_key_of(bytes(range(1, 33)))


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys", today=lambda: DAY)


def code_of(error: pytest.ExceptionInfo[EyeflowError]) -> str:
    assert error.value.cause and error.value.next_step
    unusable = error.value.message.startswith("cannot read ") or error.value.code == "key_permissions"
    assert error.value.exit_code is (ExitCode.ENVIRONMENT if unusable else ExitCode.PROBLEMS)
    return error.value.code


def test_a_new_key_signs_and_is_private(ring: Keyring) -> None:
    made = ring.new("ci")
    assert public_key_of(ring.load("ci")) == made.public_key
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert ring.path.stat().st_mode & 0o777 == 0o700
    assert ring.list() == [ring.show("ci")] == [made]
    assert made.fingerprint == fingerprint(made.public_key)
    assert sorted(path.name for path in ring.path.iterdir()) == ["ci.pem", "ci.pub"]


def test_a_key_is_never_overwritten(ring: Keyring) -> None:
    before = ring.new("ci").path.read_bytes()
    with pytest.raises(EyeflowError) as error:
        ring.new("ci")
    assert code_of(error) == "key_exists"
    assert ring.show("ci").path.read_bytes() == before
    assert not list(ring.path.glob(".*"))


def test_a_passphrase_encrypts_the_file(ring: Keyring) -> None:
    made = ring.new("safe", "correct horse")
    assert b"ENCRYPTED" in made.path.read_bytes()
    assert public_key_of(ring.load("safe", "correct horse")) == made.public_key
    with pytest.raises(EyeflowError) as wrong:
        ring.load("safe", "battery staple")
    assert code_of(wrong) == "wrong_passphrase"
    with pytest.raises(EyeflowError) as missing:
        ring.load("safe")
    assert code_of(missing) == "passphrase_needed"
    with pytest.raises(EyeflowError) as empty:
        ring.new("other", "")
    assert code_of(empty) == "passphrase"


def test_a_key_that_others_may_read_is_not_used(ring: Keyring) -> None:
    path = ring.new("ci").path
    path.chmod(0o640)
    with pytest.raises(EyeflowError) as error:
        ring.load("ci")
    assert code_of(error) == "key_permissions"
    assert "chmod 600" in error.value.next_step
    assert "640" in ring.show("ci").problem
    path.chmod(0o600)
    ring.path.chmod(0o755)
    with pytest.raises(EyeflowError) as directory:
        ring.load("ci")
    assert code_of(directory) == "key_permissions"


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "-rf", "x" * 64, "a\n"])
def test_names_stay_inside_the_directory(ring: Keyring, name: str) -> None:
    with pytest.raises(EyeflowError) as made:
        ring.new(name)
    assert code_of(made) == "key_name"
    with pytest.raises(EyeflowError) as loaded:
        ring.load(name)
    assert code_of(loaded) == "key_not_found"


def test_a_missing_key_names_the_nearest(ring: Keyring) -> None:
    ring.new("production")
    with pytest.raises(EyeflowError) as error:
        ring.load("prodction")
    assert code_of(error) == "key_not_found"
    assert "production" in error.value.cause


@pytest.mark.parametrize(
    "damage", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"x" * 20_000]
)
def test_a_damaged_key_file_is_refused(ring: Keyring, damage: bytes) -> None:
    ring.new("ci").path.write_bytes(damage)
    with pytest.raises(EyeflowError) as error:
        ring.load("ci")
    assert code_of(error) == "key_file"


def test_trust_takes_every_form_of_a_public_key(ring: Keyring) -> None:
    key = ring.new("ci").public_key
    pub = ring.path / "ci.pub"
    forms: list[bytes | str | Path] = [key, key.hex(), base64.b64encode(key).decode(), pub, str(pub), pub.read_text()]
    assert {read_public_key(form) for form in forms} == {key}
    assert ring.trust(pub, "ci").added == DAY
    assert ring.trusted_keys() == frozenset({key})
    assert (ring.path / "trusted.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["", "zz", "ab" * 31, "/nowhere/key.pub", b"short", "A" * 43 + "="])
def test_what_is_no_public_key_is_refused(ring: Keyring, form: bytes | str) -> None:
    if form == "A" * 43 + "=":  # the control: 32 zero bytes in base64 are well-formed
        assert read_public_key(form) == bytes(32)
        return
    with pytest.raises(EyeflowError) as error:
        ring.trust(form, "x")
    assert code_of(error) == ("key_file" if form == "/nowhere/key.pub" else "public_key")


def test_a_private_key_is_not_taken_as_public(ring: Keyring) -> None:
    ring.new("ci")
    with pytest.raises(EyeflowError) as error:
        ring.trust(ring.path / "ci.pem", "ci")
    assert code_of(error) == "public_key"


def test_revoked_keys_stay_listed_but_are_not_trusted(ring: Keyring) -> None:
    first, second = ring.new("a"), ring.new("b")
    ring.trust(first.public_key, "a")
    ring.trust(second.public_key, "b")
    ring.revoke(first.fingerprint)
    assert ring.trusted_keys() == frozenset({second.public_key})
    assert [(one.name, one.revoked) for one in ring.trusted()] == [("a", True), ("b", False)]
    ring.trust(first.public_key, "a")
    assert first.public_key in ring.trusted_keys()
    with pytest.raises(EyeflowError) as unknown:
        ring.revoke("c")
    assert code_of(unknown) == "key_not_found"


@pytest.mark.parametrize("first", [0, 1, 255], ids=["order 4", "neutral", "not in its one form"])
def test_a_key_that_anybody_can_sign_with_is_not_trusted(ring: Keyring, first: int) -> None:
    key = bytes([first]) + bytes([255 if first == 255 else 0]) * 31
    with pytest.raises(EyeflowError) as error:
        ring.trust(key, "a")
    assert code_of(error) == "weak_key" and error.value.next_step
    assert not ring.trusted_keys()


def test_a_name_means_one_trusted_key(ring: Keyring) -> None:
    ring.trust(OURS, "a")
    with pytest.raises(EyeflowError) as error:
        ring.trust(THEIRS, "a")
    assert code_of(error) == "key_exists"


@pytest.mark.parametrize("text", ["key = 3", "[[key]]\nname = 1", "\x00", '[[key]]\nname="a"\npublic_key="ab"'])
def test_a_damaged_trust_store_trusts_nothing(ring: Keyring, text: str) -> None:
    ring.trust(OURS, "a")
    (ring.path / "trusted.toml").write_text(text)
    with pytest.raises(EyeflowError) as error:
        ring.trusted_keys()
    assert code_of(error) == "trust_store"


def test_a_trust_store_that_others_may_write_is_refused(ring: Keyring) -> None:
    ring.trust(OURS, "a")
    (ring.path / "trusted.toml").chmod(0o620)
    with pytest.raises(EyeflowError) as error:
        ring.trusted_keys()
    assert code_of(error) == "key_permissions"


def test_the_directory_comes_from_the_environment() -> None:
    assert keys_dir({"EYEFLOW_KEYS": "/k"}) == Path("/k")
    assert keys_dir({"HOME": "/home/u"}) == Path("/home/u/.config/eyeflow/keys")
    assert keys_dir({"HOME": "/home/u", "XDG_CONFIG_HOME": "/c"}) == Path("/c/eyeflow/keys")


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(EyeflowError) as error:
        Keyring(tmp_path / "keys").new("ci")
    assert error.value.code == "cannot_write"
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]

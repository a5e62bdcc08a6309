from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.client.profile import ClientProfile, profile_path, write_secret


def test_a_profile_round_trips_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "conf" / "client.toml"
    profile = ClientProfile("http://127.0.0.1:7700", "eft_x", "/ca.pem")
    profile.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ClientProfile.load(path, {}) == profile


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    ClientProfile("http://a", "one").write(path)
    environ = {"EYEFLOW_COORDINATOR": "http://b/", "EYEFLOW_TOKEN": "two"}
    assert ClientProfile.load(path, environ) == ClientProfile("http://b", "two")
    assert ClientProfile.load(tmp_path / "none", environ) == ClientProfile("http://b", "two")
    assert profile_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/eyeflow/client.toml")


@pytest.mark.parametrize("environ", [{}, {"EYEFLOW_COORDINATOR": "http://b"}])
def test_without_a_profile_the_next_step_is_said(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(EyeflowError) as error:
        ClientProfile.load(tmp_path / "none", environ)
    assert error.value.code == "no_profile"
    assert "eyeflow coordinator start" in error.value.next_step


@pytest.mark.parametrize("text", ["url =", "urk = 'x'", "url = 3", "\x00"])
def test_a_broken_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.toml"
    write_secret(path, text)
    with pytest.raises(EyeflowError) as error:
        ClientProfile.load(path, {})
    assert error.value.code == "bad_profile"


def test_a_profile_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    ClientProfile("http://a", "one").write(path)
    path.chmod(0o644)
    with pytest.raises(EyeflowError) as error:
        ClientProfile.load(path, {})
    assert "chmod 600" in error.value.next_step

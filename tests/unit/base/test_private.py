from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.private import OTHERS, STRANGERS, WRITERS, loose, mend, require_private


@pytest.mark.parametrize(
    ("mode", "forbidden", "refused"),
    [
        (0o600, OTHERS, False),
        (0o640, OTHERS, True),
        (0o604, OTHERS, True),
        (0o640, STRANGERS, False),
        (0o644, STRANGERS, True),
        (0o660, STRANGERS, True),
        (0o755, WRITERS, False),
        (0o775, WRITERS, True),
        (0o777, WRITERS, True),
    ],
)
def test_modes(tmp_path: Path, mode: int, forbidden: int, refused: bool) -> None:
    file = tmp_path / "a secret"
    file.write_text("x")
    file.chmod(mode)
    assert bool(loose(file, forbidden)) is refused
    if refused:
        with pytest.raises(EyeflowError) as error:
            require_private(file, "it", forbidden)
        assert error.value.exit_code is ExitCode.ENVIRONMENT, "nothing is wrong in the file"
        assert error.value.code == "permissions" and f"chmod 600 '{file}'" in error.value.next_step
        file.chmod(0o600)
    require_private(file, "it", forbidden)


def test_the_command_fits_a_directory_and_what_is_not_there_is_left_to_its_reader(tmp_path: Path) -> None:
    assert mend(tmp_path) == f"chmod 700 {tmp_path}"
    require_private(tmp_path / "absent", "it")

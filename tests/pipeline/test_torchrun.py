"""What a stage reads from the environment that torchrun sets."""

from pathlib import Path

import pytest

from timemachine.base.errors import UserError
from timemachine.pipeline.torchrun import Place, is_silent, place

STAGE = Path("stages/train_rnn.py")
COMPLETE = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
COMPLETE |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LOCAL_RANK", "", "set without LOCAL_RANK"),
        ("MASTER_PORT", "abc", "MASTER_PORT: 'abc' is not in 1"),
        ("MASTER_PORT", "65536", "MASTER_PORT: '65536' is not in 1"),
        ("RANK", "4", "RANK=4 WORLD_SIZE=4 .* is not the place of a process"),
    ],
)
def test_a_wrong_environment_is_named(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place(STAGE, several=True) == Place(3, 4, 1, 2)
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        place(STAGE, several=True)


def test_the_error_of_an_absent_local_rank_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_silent(UserError())
    monkeypatch.delenv("LOCAL_RANK")
    assert not is_silent(UserError())

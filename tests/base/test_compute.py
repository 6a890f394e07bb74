"""What a stage computes with."""

import pytest

from timemachine.base.compute import set_up
from timemachine.base.config import ComputeParams


@pytest.mark.parametrize(("name", "value"), [("OMP_THREAD_LIMIT", "1"), ("OMP_DYNAMIC", "TRUE")])
def test_threads_that_openmp_may_take_away_are_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value}.*unset them, or set compute.num_threads to 1"):
        set_up(ComputeParams(num_threads=2, deterministic=True))
    set_up(ComputeParams(num_threads=1, deterministic=True))

"""Run the whole pipeline again in a clean copy, and compare every output with `dvc.lock`."""

import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, write_bytes, write_text
from timemachine.pipeline import dvc, params
from timemachine.pipeline.lock import changed_since, in_short, locked_files, md5_of, read_lock
from timemachine.pipeline.repository import RAW, text_at_hand
from timemachine.provenance.differences import difference, distance, numbers

_ENVIRONMENT = "data/reports/environment.json"
# How long a run that is asked to end may take to.
_PATIENCE_S = 15.0
# Numbers this close are as good as equal: around zero nothing but rounding is left of them.
_ROUNDING = 1e-9
# Most lines about figures that do not agree; a report may have thousands.
_NUM_SHOWN = 20


@dataclass
class Verdict:
    """What came out of a second run.

    Attributes:
        num_outputs: of all stages.
        differing: outputs that have not the bytes of the lock, and what is different about their files.
        other_machine: whether the second run was on another kind of machine than the first; None if nobody knows.
        num_numbers: in the reports of the lock that are at hand.
        apart: those of them that are further apart than the tolerance, by report and key; infinitely far are those
            that the second run has not.
    """

    num_outputs: int
    differing: dict[str, list[str]] = field(default_factory=dict)
    other_machine: bool | None = None
    num_numbers: int = 0
    apart: dict[str, float] = field(default_factory=dict)


def verify(root: Path, tolerance: float, say: Callable[[str], None]) -> bool:
    """Run the pipeline of a repository again and say what is different.

    Args:
        root: the repository root; nothing in it is changed.
        tolerance: by which part of its size a number of a report may differ on another kind of machine.
        say: takes one line.

    Returns:
        Whether all is the same to the byte; on another kind of machine, whether all numbers agree.

    Raises:
        UserError: there is no lock, no git, or the pipeline fails.
    """
    stages = read_lock(root / "dvc.lock")
    if changed := changed_since(root, stages, list(stages)):
        say(f"dvc.lock is not of this working tree: {in_short(changed)} changed, which may make a difference")
    folder = Path(tempfile.mkdtemp(prefix="timemachine-verify-"))
    copy, keep = folder / "copy", False
    try:
        make_clean_copy(root, copy)
        _reproduce(copy)
        keep = True  # whatever happens from here on
        verdict = compare(root, copy, tolerance)
        keep = bool(verdict.differing)
        for line in _lines(verdict, tolerance):
            say(line)
    finally:
        if keep:
            say(f"the second run is kept in {copy}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    agree = verdict.num_numbers > 0 and not verdict.apart
    return not verdict.differing or (verdict.other_machine is True and agree)


def make_clean_copy(root: Path, copy: Path) -> None:
    """Copy what git knows, or would take, of a working tree: no lock, no cache, no results but the text at hand.

    Raises:
        UserError: the folder is no git repository.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - git, no shell
    except FileNotFoundError:
        raise UserError(f"{root}: what belongs to it, git knows; install git") from None
    if listed.returncode:
        raise UserError(f"{root}: git does not know what belongs to it: {listed.stderr.decode().strip()}")
    for name in set(os.fsdecode(listed.stdout).split("\0")) - {"", "dvc.lock"}:
        if (root / name).is_file() and not name.startswith("data/reports/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
    # A cache shared by several repositories would give back what is to be computed.
    local = "[core]\n    no_scm = true\n    analytics = false\n[cache]\n    dir = cache\n"
    write_text(copy / ".dvc/config.local", local)
    wanted = params.load(root / "params.yaml").download
    if (text := text_at_hand(root, wanted.model_dump())) is not None:  # else from the internet
        write_bytes(copy / RAW, text)


def _reproduce(copy: Path) -> None:
    """Run everything, without what the caller's environment says of DVC, of stores and of other code."""
    foreign = ("DVC_", "MLFLOW_", "TIMEMACHINE_")
    inherited = {key: value for key, value in dvc.environment().items() if not key.startswith(foreign)}
    own = inherited | {"PYTHONPATH": str(copy / "src")}
    sys.stdout.flush()
    # In a session of its own, so that whatever ends this process can end all of it.
    run = subprocess.Popen(  # noqa: S603 - no shell
        dvc.command("repro"), cwd=copy, env=own, start_new_session=True, preexec_fn=_end_with_parent
    )
    try:
        failed = run.wait()
    except BaseException:
        _end(run)
        raise
    if failed:
        raise UserError("the second run failed; what it said stands above")


def _end_with_parent() -> None:
    """Let this process, and with it the stage that it runs, end with the one that started it, even by SIGKILL."""
    if sys.platform == "linux":
        set_signal_of_parents_death = 1
        ctypes.CDLL(None).prctl(set_signal_of_parents_death, signal.SIGTERM)


def _end(run: "subprocess.Popen[bytes]") -> None:
    """End a process and those that it started, and wait until they are gone."""
    deadline_s = time.monotonic() + _PATIENCE_S
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGTERM)
        while time.monotonic() < deadline_s:
            run.poll()
            os.killpg(run.pid, 0)
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def compare(root: Path, copy: Path, tolerance: float) -> Verdict:
    """Compare what a lock says, and as far as it is at hand what it speaks of, with the results of another run.

    Args:
        root: the repository with the lock.
        copy: the one with the other run.
        tolerance: largest distance of two numbers, as a part of the larger.
    """
    wanted = {out: md5 for stage in read_lock(root / "dvc.lock").values() for out, md5 in stage.outs.items()}
    verdict = Verdict(len(wanted))
    for out, md5 in wanted.items():
        if md5_of(copy / out) != md5:
            verdict.differing[out] = list(_differences(root, copy, out, md5))
    others = {out for stage in read_lock(copy / "dvc.lock").values() for out in stage.outs} - wanted.keys()
    for out in sorted(others):
        verdict.differing[out] = [f"{out}: no output of the lock"]
    if verdict.differing:
        before = _json(root, wanted, _ENVIRONMENT)
        verdict.other_machine = None if before is None else before != _found(copy, _ENVIRONMENT)
        for out in wanted:
            if (
                out.endswith(".json")
                and out != _ENVIRONMENT
                and (expected := _json(root, wanted, out)) is not None
            ):
                found = dict(numbers(_found(copy, out)))
                _compare_numbers(verdict, out, dict(numbers(expected)), found, tolerance)
    return verdict


def _found(copy: Path, out: str) -> object:
    return read_json(copy / out) if (copy / out).is_file() else None


def _json(root: Path, wanted: Mapping[str, str], out: str) -> object:
    files = locked_files(root, out, wanted[out]) if out in wanted else None
    return json.loads(files[out].read_bytes()) if files else None


def _differences(root: Path, copy: Path, out: str, md5: str) -> Iterator[str]:
    path = copy / out
    found = {str(p.relative_to(copy)): p for p in sorted([path, *path.rglob("*")]) if p.is_file()}
    expected = locked_files(root, out, md5)
    if expected is None:
        yield f"{out}: other bytes; those of the lock are not at hand, neither here nor in DVC's cache"
        return
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name}: absent in the second run"
        elif name not in expected:
            yield f"{name}: only in the second run"
        elif md5_of(expected[name]) != md5_of(found[name]):
            yield f"{name}: {difference(expected[name], found[name])}"


def _compare_numbers(
    verdict: Verdict, out: str, expected: Mapping[str, float], found: Mapping[str, float], tolerance: float
) -> None:
    for key, value in expected.items():
        verdict.num_numbers += 1
        other = found.get(key)
        if other is None:
            verdict.apart[f"{out}: {key}"] = math.inf
        elif not math.isclose(value, other, rel_tol=tolerance, abs_tol=_ROUNDING):
            verdict.apart[f"{out}: {key}"] = distance(value, other)


def _lines(verdict: Verdict, tolerance: float) -> Iterator[str]:
    num_same = verdict.num_outputs - len(verdict.differing)
    yield f"{num_same} of {verdict.num_outputs} outputs have the bytes of dvc.lock"
    if not verdict.differing:
        return
    for lines in verdict.differing.values():
        yield from lines
    kind = {
        True: "this is another kind of machine than the lock's",
        False: "this is the kind of machine of the lock",
        None: "whether this is the kind of machine of the lock cannot be said",
    }[verdict.other_machine]
    num_agree = verdict.num_numbers - len(verdict.apart)
    yield f"{kind} ({_ENVIRONMENT})"
    within = f"{100 * tolerance:g} %, or {_ROUNDING:g}"
    yield f"{num_agree} of {verdict.num_numbers} numbers in reports agree within {within}"
    worst = sorted(verdict.apart.items(), key=lambda item: -item[1])
    for name, apart in worst[:_NUM_SHOWN]:
        yield f"{name}: " + (f"{100 * apart:.3g} % apart" if math.isfinite(apart) else "absent in the second run")
    if len(worst) > _NUM_SHOWN:
        yield f"and {len(worst) - _NUM_SHOWN} more"

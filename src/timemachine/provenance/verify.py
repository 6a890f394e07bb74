"""Run the whole pipeline again in a clean copy, and compare every output with `dvc.lock`."""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, write_text
from timemachine.pipeline import dvc, params
from timemachine.pipeline.lock import changed_since, locked_files, md5_of, read_lock, without_removed
from timemachine.pipeline.repository import files_at_hand, git
from timemachine.provenance.differences import difference, distance, numbers

_ENVIRONMENT = "data/results/environment.json"
# Numbers that differ by less than this agree: a number near zero may consist of rounding errors only.
_ROUNDING = 1e-9
# Largest number of lines about numbers that do not agree; a report may have thousands.
_NUM_SHOWN = 20


def verify_pipeline(root: Path, tolerance: float, say: Callable[[str], None]) -> bool:
    """Run the pipeline in a clean copy of a repository and report what differs.

    Args:
        root: the repository root; nothing in it is changed, except for what `timemachine repair` mends.
        tolerance: largest relative distance of a number in a report on another kind of machine.
        say: called with each line of the report.

    Returns:
        Whether all outputs have the same bytes or, on another kind of machine, all numbers agree.

    Raises:
        UserError: `dvc.lock` or git is absent, the params are wrong, or the pipeline fails.
    """
    dvc.prepare(root, say)
    stages = without_removed(root, read_lock(root / "dvc.lock"))
    if changed := changed_since(root, stages):
        say(f"this working tree differs from dvc.lock: {changed} changed, so results may differ")
    folder = Path(tempfile.mkdtemp(prefix="timemachine-verify-"))
    copy, keep = folder / "copy", False
    try:
        _make_clean_copy(root, copy)
        # Without the caller's environment variables for DVC, MLflow and this package.
        foreign = ("DVC_", "MLFLOW_", "TIMEMACHINE_")
        inherited = {key: value for key, value in dvc.child_environment().items() if not key.startswith(foreign)}
        if dvc.run(copy, "repro", env=inherited | {"PYTHONPATH": str(copy / "src")}).returncode:
            raise UserError("the second run failed; its messages are above")
        keep = True  # also if the comparison fails
        wanted = {out: md5 for stage in stages.values() for out, md5 in stage.outs.items()}
        differing = [out for out, md5 in wanted.items() if md5_of(copy / out) != md5]
        say(f"{len(wanted) - len(differing)} of {len(wanted)} outputs have the bytes of dvc.lock")
        for out in differing:
            for line in _differences(root, copy, out, wanted[out]):
                say(line)
        new = {out for stage in read_lock(copy / "dvc.lock").values() for out in stage.outs} - wanted.keys()
        for out in sorted(new):
            say(f"{out}: not an output in dvc.lock")
        keep = bool(differing or new)
        return not keep or _agree(root, copy, wanted, tolerance, say)
    finally:
        if keep:
            say(f"the second run is kept in {copy}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _make_clean_copy(root: Path, copy: Path) -> None:
    """Copy the files of a working tree that git tracks or does not ignore, without `dvc.lock` and without reports.

    The texts that are present are copied too, so that no internet is needed.
    """
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        raise UserError(f"{root}: git, which lists the files to copy, is not installed or has no repository here")
    for name in set(listed.split("\0")) - {"", "dvc.lock"}:
        if (root / name).is_file() and not name.startswith("data/reports/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
    # A cache of its own: a shared one would restore the results instead of computing them.
    local = "[core]\n    no_scm = true\n    analytics = false\n[cache]\n    dir = cache\n"
    write_text(copy / ".dvc/config.local", local)
    for name, entry in params.load(root / "params.yaml").texts.items():
        for file, path in (files_at_hand(root, name, entry) or {}).items():  # else the text is downloaded
            (copy / "data/raw" / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / "data/raw" / name / file)


def _differences(root: Path, copy: Path, out: str, md5: str) -> Iterator[str]:
    """Yield a line for each file of an output that differs from the lock."""
    path = copy / out
    found = {str(p.relative_to(copy)): p for p in sorted([path, *path.rglob("*")]) if p.is_file()}
    expected = locked_files(root, out, md5)
    if expected is None:
        yield f"{out}: other bytes; the original is neither in the working tree nor in DVC's cache"
        return
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name}: absent in the second run"
        elif name not in expected:
            yield f"{name}: only in the second run"
        elif md5_of(expected[name]) != md5_of(found[name]):
            yield f"{name}: {difference(expected[name], found[name])}"


def _agree(
    root: Path, copy: Path, wanted: Mapping[str, str], tolerance: float, say: Callable[[str], None]
) -> bool:
    """Report on the kind of machine and the numbers in reports of the lock, as far as these are present.

    Returns:
        Whether the second run was on another kind of machine and all numbers agree within the tolerance.
    """
    kind, other_machine = "the kind of machine of dvc.lock is not recorded", False
    before, now = dict[str, float](), dict[str, float]()
    for out, md5 in wanted.items():
        # data/reports has copies of data/results.
        compared = out.endswith(".json") and not out.startswith("data/reports/")
        if not compared or (files := locked_files(root, out, md5)) is None:
            continue
        then = json.loads(files[out].read_bytes())
        found = read_json(copy / out) if (copy / out).is_file() else None
        if out == _ENVIRONMENT:
            other_machine = then != found
            which = "another kind of machine than" if other_machine else "the same kind of machine as"
            kind = f"this is {which} that of dvc.lock"
        else:
            before |= {f"{out}: {key}": value for key, value in numbers(then)}
            now |= {f"{out}: {key}": value for key, value in numbers(found)}
    apart = {
        name: distance(value, now[name]) if name in now else math.inf
        for name, value in before.items()
        if not math.isclose(value, now.get(name, math.nan), rel_tol=tolerance, abs_tol=_ROUNDING)
    }
    say(f"{kind} ({_ENVIRONMENT})")
    within = f"{100 * tolerance:g} %, or {_ROUNDING:g}"
    say(f"{len(before) - len(apart)} of {len(before)} numbers in reports agree within {within}")
    worst = sorted(apart.items(), key=lambda item: -item[1])
    for name, much in worst[:_NUM_SHOWN]:
        say(f"{name}: " + (f"{100 * much:.3g} % apart" if math.isfinite(much) else "absent in the second run"))
    if len(worst) > _NUM_SHOWN:
        say(f"and {len(worst) - _NUM_SHOWN} more")
    return other_machine and bool(before) and not apart

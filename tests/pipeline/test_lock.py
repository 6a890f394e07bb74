import shutil
from pathlib import Path

import pytest
from graph import ROOT

from timemachine.pipeline.lock import locked_files, md5_of, read_lock, without_removed

pytestmark = pytest.mark.slow

DAMAGES = {
    "cut": lambda content: content[:200],
    "empty": lambda content: b"",
    "a path that is no text": lambda content: content.replace(b"path: work.py", b"path:"),
    "a key that is no text": lambda content: content.replace(b"series.seed:", b"3:"),
    "nested without end": lambda content: b"[" * 10_000,
    "noise": lambda content: b"\xff\xfe" + content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lock_that_is_damaged_is_an_error_of_one_line(damage: str, repository: Path) -> None:
    lock = repository / "dvc.lock"
    lock.write_bytes(DAMAGES[damage](lock.read_bytes()))
    with pytest.raises(ValueError, match=r"dvc\.lock: damaged") as refused:
        read_lock(lock)
    assert "\n" not in str(refused.value)


def test_where_there_is_no_pipeline_there_is_no_lock_to_make(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no dvc\.yaml here or above"):
        read_lock(tmp_path / "dvc.lock")


def test_stages_that_dvc_keeps_in_the_lock_although_they_are_gone_do_not_count(tmp_path: Path) -> None:
    names = ["download", "download@timemachine", "download@old", "preprocess"]
    (tmp_path / "dvc.lock").write_text("stages:\n" + "".join(f"  {name}: {{cmd: x}}\n" for name in names))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    stages = read_lock(tmp_path / "dvc.lock")
    assert list(stages) == ["download@timemachine", "download@old", "preprocess"]
    assert list(without_removed(tmp_path, stages)) == ["download@timemachine", "preprocess"]


def test_the_hash_of_a_folder_is_that_of_dvc(repository: Path) -> None:
    (repository / "data/folder/.gitignore").touch()
    (repository / "data/folder/.b.json.1.x.tmp").touch()
    locked = read_lock(repository / "dvc.lock")["work"].outs
    assert {out: md5_of(repository / out) for out in locked} == locked


@pytest.mark.parametrize(
    ("out", "part"), [("data/folder", "*.dir"), ("data/folder", "*"), ("data/checked.txt", "*")]
)
@pytest.mark.parametrize("content", ["", "[]", '[{"md5": "x"}]'])
def test_what_is_damaged_in_the_cache_is_as_good_as_absent(
    out: str, part: str, content: str, repository: Path
) -> None:
    md5 = next(stage.outs[out] for stage in read_lock(repository / "dvc.lock").values() if out in stage.outs)
    path = repository / out
    names = {file.relative_to(repository).as_posix() for file in (path.iterdir() if path.is_dir() else [path])}
    shutil.move(path, repository / "elsewhere")
    assert locked_files(repository, out, md5).keys() == names
    for kept in (repository / ".dvc/cache/files/md5").glob(f"*/{part}"):
        kept.chmod(0o644)
        kept.write_text(content)
    assert locked_files(repository, out, md5) is None


@pytest.mark.parametrize("where", ["{far}  # a comment", '"{far}"', "~/far away", "../../far away"])
@pytest.mark.parametrize("config", ["repository/.dvc/config.local", "repository/.dvc/config", "user/config"])
def test_the_cache_is_where_dvc_has_it(
    where: str, config: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if config == "user/config" and where.startswith("."):
        where = "../far away"
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / config).write_text(f"[cache]\n    dir = {where.format(far=tmp_path / 'far away')}\n")
    md5 = read_lock(repository / "dvc.lock")["work"].outs["data/folder"]
    shutil.rmtree(repository / "data/folder")
    assert locked_files(repository, "data/folder", md5) is None
    shutil.move(repository / ".dvc/cache", tmp_path / "far away")
    assert locked_files(repository, "data/folder", md5) is not None


def test_a_config_of_dvc_that_is_damaged_is_an_error_of_one_line(repository: Path) -> None:
    (repository / ".dvc/config").write_text("[cache]\n    dir = %(none)s\n[")
    with pytest.raises(ValueError, match=r"\.dvc/config: damaged") as refused:
        locked_files(repository, "data/folder", "0" * 32)
    assert "\n" not in str(refused.value)

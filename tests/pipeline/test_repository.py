import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from timemachine.pipeline.repository import has_texts

TEXT = b"The Time Machine"
ENTRY = {"sources": ["https://example.org/x", "own.txt"], "sha256": hashlib.sha256(TEXT).hexdigest()}


@pytest.mark.parametrize("place", ["data/raw/timemachine/timemachine.txt", "data/raw/timemachine.txt", "own.txt"])
@pytest.mark.parametrize("content", [{"texts": {"timemachine": ENTRY}}, {"download": {**ENTRY, "max_bytes": 10}}])
def test_a_text_is_at_hand_wherever_this_or_an_earlier_version_puts_it(
    content: dict[str, Any], place: str, tmp_path: Path
) -> None:
    assert not has_texts(tmp_path, content)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"another text")
    assert not has_texts(tmp_path, content)
    (tmp_path / place).write_bytes(TEXT)
    assert has_texts(tmp_path, content)


def test_a_text_in_shards_is_at_hand_if_all_are_and_wrong_params_have_no_text(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    lines = ""
    for name in ("a.txt", "b.txt"):
        (tmp_path / "own" / name).write_text(name)
        lines += f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
    entry = {"sources": ["own"], "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    assert has_texts(tmp_path, {"texts": {"shelf": entry}})
    assert not has_texts(tmp_path, {"texts": {"shelf": entry, "book": ENTRY}})
    shutil.move(tmp_path / "own/b.txt", tmp_path)
    assert not has_texts(tmp_path, {"texts": {"shelf": entry}})
    assert not any(has_texts(tmp_path, content) for content in (None, [], {}, {"texts": {"a": 1}}, {"texts": 1}))

from pathlib import Path

import pytest
from tiny import tiny_params

from timemachine.base import config
from timemachine.pipeline.owned import remove_unowned
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import CHECKPOINT, LANGUAGE_MODEL

PARAMS = config.validate(Params, tiny_params(), "params.yaml")


def outputs(autoregressive: str, recurrent: str, text: str) -> list[str]:
    """The outputs of an entry of train_ar, of one of train_rnn, and of one of texts."""
    return [
        *(f"models/ar/{autoregressive}/{file}" for file in CHECKPOINT),
        *(f"models/rnn/{recurrent}/{file}" for file in LANGUAGE_MODEL),
        f"scores/rnn/{recurrent}.safetensors",
        f"scores/rnn/{recurrent}_dynamic.safetensors",
        f"generated/{recurrent}.txt",
        f"results/perplexity/{recurrent}.json",
        f"reports/figures/training/{recurrent}.png",
        f"reports/figures/forecast/k_step_{autoregressive}.png",
        f"raw/{text}/part-1.txt",
        f"raw/{text}.txt",  # of an earlier version
    ]


KEPT = [
    *outputs("mlp", "gated", "timemachine"),
    "models/rnn/old/notes.txt",
    "models/rnn/My Model/config.json",
    "scores/ngram/whole.safetensors",
    "generated/Old.txt",
    "generated/old.md",
    "generated/more/old.txt",
    "own/old.txt",
    "reports/figures/forecast/multistep.png",
]


def make(data: Path, files: list[str]) -> None:
    for file in files:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_text(file)


def files(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def test_a_removed_entry_leaves_no_trace_and_all_other_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path("data")
    old = outputs("ancient", "old", "old")
    make(
        data, [*KEPT, *old, "models/rnn/carried/config.json", "models/ar/ancient/.config.json.99999999.x.tmp.json"]
    )
    (data / "scores/rnn/carried_dynamic.safetensors").write_text("its entry of dynamic_evaluation.models is gone")
    make(data, ["scores/dynamic/gated.safetensors"])  # where an earlier version wrote
    removed = remove_unowned(PARAMS, data)
    assert files(data) == {*KEPT, "models/rnn/carried/config.json"}
    assert not (data / "models/ar/ancient").exists()
    assert {str(path.relative_to(data)) for path in removed} == {
        *old,
        "models/ar/ancient",
        "raw/old",
        "scores/rnn/carried_dynamic.safetensors",
        "scores/dynamic/gated.safetensors",
    }
    assert remove_unowned(PARAMS, data) == []


def test_a_link_is_not_followed_and_a_linked_file_stays_where_it_is(tmp_path: Path) -> None:
    data, outside = tmp_path / "repository/data", tmp_path / "outside"
    make(outside, ["old/config.json", "generated/old.txt", "cached.safetensors"])
    for folder in ("models/rnn", "scores/rnn"):
        (data / folder).mkdir(parents=True)
    (data / "models/rnn/old").symlink_to(outside / "old")
    (data / "generated").symlink_to(outside / "generated")
    (data / "scores/rnn/old.safetensors").symlink_to(outside / "cached.safetensors")
    assert remove_unowned(PARAMS, data) == [data / "scores/rnn/old.safetensors"]
    assert files(outside) == {"old/config.json", "generated/old.txt", "cached.safetensors"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/data").symlink_to(outside)
    assert remove_unowned(PARAMS, tmp_path / "elsewhere/data") == []

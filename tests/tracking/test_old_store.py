"""A store made by an earlier version of this package is used by the present one."""

import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from timemachine.language.generation.continuation import sampling_of
from timemachine.language.generation.decoding import continue_texts
from timemachine.pipeline import params
from timemachine.retraining import gate, promotion
from timemachine.retraining import round as one_round
from timemachine.tracking import registry, verdicts
from timemachine.tracking.compare import compare_runs
from timemachine.tracking.server import load_alias

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).with_name("old_store.tar.xz")
# The archive has this word in place of the absolute path of the repository, in these columns and in verdict.json.
OLD_ROOT = "/OLD_ROOT"
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("tags", "value"),
)
# Text that the earlier version generated with this champion.
GREEDY = "the time the the the the the the the the the the"
SAMPLED = "the time machine of the the of machile was it th"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked repository."""
    root = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    database = sqlite3.connect(root / "mlflow.db")
    for table, column in ADDRESSES:
        database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (OLD_ROOT, str(root)))
    database.commit()
    database.close()
    change_params(root / "params.yaml")
    raw = root / "data/raw/timemachine/timemachine.txt"
    raw.parent.mkdir()
    (root / "data/raw/timemachine.txt").rename(raw)
    verdict = root / one_round.VERDICT
    verdict.write_text(verdict.read_text().replace(OLD_ROOT, str(root)))
    return root


def change_params(path: Path) -> None:
    """Make the changes that docs/troubleshooting.md and CHANGELOG.md ask for."""
    content = yaml.safe_load(path.read_text())
    source = content.pop("download")
    content["texts"] = {"timemachine": {key: source[key] for key in ("sources", "sha256")}}
    for corpus in content["preprocess"]["corpora"].values():
        corpus["texts"] = ["timemachine"]
    # The model counts on after every token.
    content["compare_models"].pop("adapt_every", None)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def aliases(root: Path) -> dict[str, str]:
    with verdicts.open_verdicts(root, "timemachine") as store:
        named = {alias: registry.aliased(store, alias) for alias in ("champion", "previous", "challenger")}
    return {alias: version.number for alias, version in named.items() if version}


def test_aliases_are_read_and_the_last_state_counts_as_judged(root: Path) -> None:
    assert aliases(root) == {"champion": "5", "previous": "3", "challenger": "5"}
    assert one_round.is_judged(root)


def test_the_champion_generates_the_same_text(root: Path) -> None:
    model = load_alias(root, "timemachine", "champion")
    assert continue_texts(model.module, model.tokenizer, ["the time"], [40], sampling_of()) == [GREEDY]
    assert continue_texts(
        model.module, model.tokenizer, ["the time"], [40], sampling_of(temperature=1.0), seed=1
    ) == [SAMPLED]


def test_the_code_packaged_with_the_champion_runs(root: Path) -> None:
    """In a process of its own, in which no other timemachine is imported, as in the model server."""
    with verdicts.open_verdicts(root, "timemachine") as store:
        champion = registry.aliased(store, "champion")
        assert champion
        folder = store.client.download_artifacts(champion.run_id, registry.MODEL_FOLDER)
    code = (
        "import sys, mlflow.pyfunc, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "import timemachine\n"
        "assert timemachine.__file__.startswith(sys.argv[1]), timemachine.__file__\n"
        "print(model.predict(pandas.DataFrame([{'prefix': 'the time', 'num_preds': 40}]))['text'][0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == GREEDY + "\n"


def test_runs_are_compared(root: Path) -> None:
    found = compare_runs(root, "timemachine")
    assert found["name"].tolist() == ["carried", "carried", "gated", "gated", "carried", "gated"]
    assert found["metrics.val_bits_per_character"].is_monotonic_increasing
    assert len(compare_runs(root, "timemachine", family="ar")) == 2


def test_models_are_judged_with_the_same_scores(root: Path) -> None:
    then = json.loads((root / one_round.VERDICT).read_text())
    receipt = json.loads((root / "data/published.json").read_text())
    known = params.load(root / "params.yaml")
    with verdicts.open_verdicts(root, "timemachine") as store:
        published = promotion.read_candidates(store, receipt)
        assert promotion.judge_candidates(store, published, known, root / "data") is None  # it is champion already
        previous = registry.aliased(store, "previous")
        who = promotion.Candidates(published.state, published.challenger, previous)
        report = promotion.judge_candidates(store, who, known, root / "data")
    assert report
    assert report["verdict"] == "promoted"
    for model in ("challenger", "champion", "baseline"):
        figures = {name for name, value in then[model].items() if isinstance(value, int | float)}
        for name in figures - {"characters_per_s"}:
            assert report[model][name] == pytest.approx(then[model][name], rel=1e-5)
    assert {key: report[key] for key in ("key", "held_out_sha256", "limits")} == {
        key: then[key] for key in ("key", "held_out_sha256", "limits")
    }


def test_a_model_of_another_kind_scores_the_same(root: Path) -> None:
    known = params.load(root / "params.yaml")
    with verdicts.open_verdicts(root, "timemachine") as store:
        found = store.client.get_model_version(registry.MODEL_NAME, "6")
        run = store.client.get_run(found.run_id)
        version = registry.Version("6", found.run_id, "gated")
        folder = registry.fetch_checkpoint(store, version, root / "version6")
    p = known.evaluate_perplexity
    figures = gate.measure(folder, gate.held_out_corpus(known, root / "data"), p.num_warmup, p.num_streams)
    assert figures["val_bits_per_character"] == pytest.approx(run.data.metrics["val_bits_per_character"], rel=1e-5)
    assert figures["test_bits_per_character"] == pytest.approx(
        run.data.metrics["test_bits_per_character"], rel=1e-5
    )


def test_the_champion_is_rolled_back_and_not_promoted_again(root: Path) -> None:
    assert one_round.undo_promotion(root) == one_round.PROMOTED
    assert aliases(root) == {"champion": "3", "challenger": "5"}
    receipt = json.loads((root / "data/published.json").read_text())
    with verdicts.open_verdicts(root, "timemachine") as store:
        who = promotion.read_candidates(store, receipt)
        known = params.load(root / "params.yaml")
        judged = promotion.judge_candidates(store, who, known, root / "data")
    assert judged
    assert judged["reasons"] == ["this version was champion and has been rolled back"]

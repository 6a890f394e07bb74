"""What compares the models: a table, learning curves, generated texts, and the bits of each held-out character."""

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.language.scoring.score import Readings, read_distributions
from timemachine.language.training.history import read_history
from timemachine.pipeline.params import Params
from timemachine.report.sources import Sources
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

# Bits are stored as whole thousandths in two bytes. The largest number stands for infinity, of P = 0.
_STEPS_PER_BIT, _INFINITE = 1000, 2**16 - 1
_MAX_BYTES = 3_000_000  # of all bits in the page; of a longer text only the first characters are shown
_NUM_DIGITS = 5  # of learning curves
_COUNTED = {"uniform": "baseline", "maximum_likelihood_": "n-gram", "additive_": "n-gram", "kneser_ney_": "n-gram"}


def table(params: Params, sources: Sources) -> list[dict[str, Any]]:
    """Return a row for each language model of the corpus `compare_models.corpus`, the best on the test part first.

    Scores are bits per character; None stands for infinity. Compressors have no intervals.
    """
    report = sources.report("language_models")
    rows = []
    for name, parts in report.get("models", {}).items():
        test, val = parts["test"], parts["val"]
        behind = test.get("behind", {})
        rows.append(
            {
                "name": name,
                "kind": _kind(name, params),
                "val": val["bits_per_character"],
                "test": test["bits_per_character"],
                "low": test.get("low"),
                "high": test.get("high"),
                "behind": behind.get("bits_per_character"),
                "behind_low": behind.get("low"),
                "behind_high": behind.get("high"),
                "perplexity": test["perplexity"] if test["bits_per_character"] is not None else None,
            }
        )
    for name, bits in report.get("compressors", {}).items():
        rows.append({"name": name, "kind": "compressor", "val": bits["val"], "test": bits["test"]})
    return sorted(rows, key=lambda row: math.inf if row["test"] is None else row["test"])


def _kind(name: str, params: Params) -> str:
    if name.startswith(CONTEXT_MIXING):
        return "context mixture"
    if name in params.compare_models.mixtures:
        return "mixture"
    if name.endswith("_adaptive"):
        return "adaptive n-gram"
    if name in params.dynamic_names:
        return "recurrent, dynamic"
    return next((kind for start, kind in _COUNTED.items() if name.startswith(start)), "recurrent")


def interval_scale(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the ends of the scale in bits per character that the intervals of the table are drawn on.

    Weak models lie beyond it, so that the intervals of the good ones can be told apart.
    """
    lows = [row["low"] for row in rows if row.get("low") is not None]
    if not lows:
        return 0.0, 1.0
    low = math.floor(10 * min(lows)) / 10
    return low, low + max(0.2, math.ceil(5 * low) / 10)


def curves(params: Params, sources: Sources) -> list[dict[str, Any]]:
    """Return the learning curves of all recipes: perplexity by epoch on the train part and, if known, validation.

    Raises:
        UserError: a history is damaged.
    """
    found = []
    for name in params.train_rnn:
        if path := sources.find(f"models/rnn/{name}/history.csv"):
            rows = read_history(path)
            found.append(
                {
                    "name": name,
                    "epochs": [row["epoch"] for row in rows],
                    "train": [_short(row["perplexity"]) for row in rows],
                    "val": [_short(row["val_perplexity"]) for row in rows]
                    if "val_perplexity" in rows[0]
                    else None,
                }
            )
    return found


def _short(value: float) -> float | None:
    return float(f"{value:.{_NUM_DIGITS}g}") if math.isfinite(value) else None


def texts(params: Params, sources: Sources) -> list[dict[str, Any]]:
    """Return what every recurrent model wrote, by prefix."""
    lines = {
        name: path.read_text(errors="replace").splitlines()
        for name in params.train_rnn
        if (path := sources.find(f"generated/{name}.txt"))
    }
    prefixes = []
    for i, prefix in enumerate(params.evaluate_perplexity.prefixes):
        drawn = f"drawn from P^{prefix.alpha:g}" if prefix.alpha else "the most probable character each time"
        written = [
            {"model": name, "text": own[i].removeprefix(prefix.prefix)}
            for name, own in lines.items()
            if i < len(own)
        ]
        prefixes.append({"prefix": prefix.prefix, "how": drawn, "written": written})
    return prefixes if lines else []


def characters(params: Params, names: list[str], sources: Sources) -> dict[str, Any] | None:
    """Return the held-out text and the bits of each of its characters under each model.

    Args:
        params: all parameters.
        names: of the models, in the order in which they are offered.
        sources: the files of the pipeline.

    Returns:
        `step` in bits and the number that stands for `infinite`; `parts` with `name`, `text` and the number of its
        characters in `total`; `models` with `name` and for each part the bits as base64 of little-endian 16-bit
        integers. None if there is no text or no model.

    Raises:
        UserError: a file is damaged, or is about another corpus.
    """
    compared = params.compare_models.corpus
    if not names or not (folder := sources.find(f"text/{compared}")):
        return None
    corpus = Corpus.load(folder)
    models = _held_out_nats(params, names, corpus, sources)
    if not models:
        return None
    length = _MAX_BYTES * 3 // 4 // 2 // len(HELD_OUT) // len(models)
    tokens = corpus.vocabulary.tokens
    parts = []
    for part in HELD_OUT:
        shown = corpus.part(part)[:length]
        text = "".join(tokens[i] if len(tokens[i]) == 1 else "\N{REPLACEMENT CHARACTER}" for i in shown)
        parts.append({"name": part, "text": text, "total": len(corpus.part(part))})
    return {
        "step": 1 / _STEPS_PER_BIT,
        "infinite": _INFINITE,
        "parts": parts,
        "models": [
            {"name": name} | {part: _encoded(nats[part][:length]) for part in HELD_OUT}
            for name, nats in models.items()
        ],
    }


def _held_out_nats(params: Params, names: list[str], corpus: Corpus, sources: Sources) -> dict[str, Readings]:
    """Return the nats of each held-out token, by model and part, of the models whose scores exist."""
    together: dict[str, NDArray[Any]] = {}
    for file in (f"scores/ngram/{params.compare_models.corpus}.safetensors", "mixtures.safetensors"):
        if path := sources.find(file):
            arrays = read_arrays(path)
            _check(path, arrays, corpus)
            together |= arrays
    found: dict[str, Readings] = {}
    uniform = math.log(len(corpus.vocabulary))
    for name in names:
        if name == "uniform":
            found[name] = {part: np.full(len(corpus.part(part)), uniform) for part in HELD_OUT}
        elif f"{name}.{HELD_OUT[0]}" in together:
            found[name] = {part: together[f"{name}.{part}"] for part in HELD_OUT}
        elif (own := _own_file(name, params)) and (path := sources.find(own)):
            readings = read_distributions(path, corpus)
            found[name] = {part: readings[part] for part in HELD_OUT}  # distributions of all would be large
    return found


def _own_file(name: str, params: Params) -> str | None:
    """Return the file below `data` that has the scores of one model only; None if the model has none."""
    if name == CONTEXT_MIXING:
        return f"scores/{name}.safetensors"
    if name in params.context_mixing_networks:
        return f"scores/{CONTEXT_MIXING}/{name}.safetensors"
    return f"scores/rnn/{name}.safetensors" if name in (*params.train_rnn, *params.dynamic_names) else None


def _check(path: Path, arrays: dict[str, NDArray[Any]], corpus: Corpus) -> None:
    for key, nats in arrays.items():
        name, _, part = key.rpartition(".")
        if absent := [one for one in HELD_OUT if f"{name}.{one}" not in arrays]:
            raise UserError(f"{path}: no {name}.{absent[0]}; recreate it with `dvc repro`")
        fits = part in HELD_OUT and nats.shape == corpus.part(part).shape
        if not fits or np.isnan(nats).any() or (nats < 0).any():
            raise UserError(f"{path}: {key} is not nats of this corpus; recreate it with `dvc repro`")


def _encoded(nats: NDArray[np.float64]) -> str:
    bits = np.minimum(nats / math.log(2), _INFINITE)  # rounding infinity is not defined
    steps = np.minimum(np.rint(bits * _STEPS_PER_BIT), _INFINITE).astype("<u2")
    return base64.b64encode(steps.tobytes()).decode()

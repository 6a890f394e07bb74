"""What MLflow gets of a finished pipeline: the content of the run of each model and of their parent."""

import hashlib
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from timemachine.base.errors import UserError
from timemachine.base.files import read_mapping, sha256_of
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.language.training.history import read_history
from timemachine.pipeline.lock import whole_stages
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import CHECKPOINT, LANGUAGE_MODEL
from timemachine.pipeline.repository import git
from timemachine.pipeline.times import StageTime
from timemachine.text.preparation.sources import sha256_of_text
from timemachine.tracking.environment import git_tags
from timemachine.tracking.live import training_key
from timemachine.tracking.runs import MINUTES, TRAINING, RunContent, dataset_of

# Endings of numbers that do not differ between models of the same text.
_CONSTANT = ("_tokens", "left_out/nothing")
_NO_CHECKPOINT = "There is no checkpoint: the model counts the text anew in seconds."
_WRITES = " `timemachine generate PREFIX --model context_mixing` writes with it."


def model_runs(params: Params, data: Path, times: Mapping[str, StageTime]) -> Iterator[RunContent]:
    """Yield the content of the run of each model: config, curves, scores, checkpoint, figure and generated text.

    Raises:
        UserError: a model was not trained with its recipe, or is not in the report.
    """
    figures = data / "reports/figures"
    for family, report, recipes in (("ar", "forecast", params.train_ar), ("rnn", "perplexity", params.train_rnn)):
        scores = read_mapping(data / f"reports/{report}.json")
        for name, recipe in recipes.items():
            folder, text = data / "models" / family / name, data / f"generated/{name}.txt"
            config = read_mapping(folder / "config.json")
            if scores.get(name) is None or any(
                config.get(key) != value for key, value in recipe.model_dump().items()
            ):
                raise UserError(f"{folder}: not trained with the present params.yaml; run `dvc repro` first")
            # The key of the run is a hash of `files`. Figures are drawn from them.
            if family == "ar":
                files = [folder / file for file in CHECKPOINT]
                figure = figures / f"forecast/k_step_{name}.png"
                artifacts = [*(("checkpoint", path) for path in files), ("figures", figure)]
            else:  # the checkpoint is in the MLflow model folder
                files = [*(folder / file for file in LANGUAGE_MODEL), text]
                artifacts = [("figures", figures / f"training/{name}.png"), ("generated", text)]
            curves = [
                (f"training/{column}", value, int(row["epoch"]))
                for row in read_history(folder / "history.csv")
                for column, value in row.items()
                if column not in {"epoch", "tokens"}
            ]
            stage = f"train_{family}@{name}"
            machine = read_mapping(folder / "environment.json")
            yield RunContent(
                path=f"{family}/{name}",
                name=name,
                key=_key_of([family, name, scores[name], [sha256_of(path) for path in files]]),
                params=config,
                metrics=[*_scalars(scores[name]), *_minutes(times, stage), *curves],
                artifacts=artifacts,
                tags={
                    "timemachine.kind": "model",
                    "timemachine.family": family,
                    "timemachine.data_sha256": config["data_sha256"],
                    TRAINING: training_key(config),
                    "DVC_STAGE": stage,
                    "mlflow.source.name": stage,
                    "mlflow.note.content": _about_model(config, scores[name]),
                    **{f"timemachine.{key}": str(value) for key, value in machine.items()},
                },
                dataset=dataset_of(config),
            )


def mixing_runs(params: Params, data: Path, times: Mapping[str, StageTime]) -> Iterator[RunContent]:
    """Yield the content of the run of each context mixture: knobs, scores, nats and distributions of each token.

    Raises:
        UserError: the reports were made with other params.
    """
    p = params.context_mixing
    ranking, parts = (read_mapping(data / f"reports/{name}.json") for name in ("language_models", CONTEXT_MIXING))
    if (parts.get("params"), ranking.get("networks")) != (p.model_dump(), params.context_mixing_networks):
        raise UserError(f"{data / 'reports'}: not made with the present params.yaml; run `dvc repro` first")
    for name, networks in {CONTEXT_MIXING: [], **params.context_mixing_networks}.items():
        report, folder, stage = data / "reports/context_mixing.json", data / "scores", CONTEXT_MIXING
        if networks:
            folder, stage = folder / CONTEXT_MIXING, f"{CONTEXT_MIXING}_networks"
        path = folder / f"{name}.safetensors"
        scores = ranking["models"][name]
        metrics = _flatten(scores, "_")
        if not networks:
            metrics |= {f"left_out/{part}": row["more"] for part, row in parts["left_out"].items()}
        knobs = _flatten(p.model_dump()) | {"networks": " ".join(networks) or "none"}
        yield RunContent(
            path=f"{CONTEXT_MIXING}/{name}",
            name=name,
            key=_key_of([name, knobs, metrics, sha256_of(path)]),
            params={"family": CONTEXT_MIXING, "corpus": params.compare_models.corpus, **knobs},
            # The stage of the mixtures with networks makes all of them; its time is that of none.
            metrics=[*_scalars(metrics), *([] if networks else _minutes(times, stage))],
            artifacts=[("scores", path), *([] if networks else [("reports", report)])],
            tags={
                "timemachine.kind": "model",
                "timemachine.family": CONTEXT_MIXING,
                "DVC_STAGE": stage,
                "mlflow.source.name": stage,
                "mlflow.note.content": f"{_about_mixture(networks)}: {_in_words(scores)}. {_NO_CHECKPOINT}"
                + ("" if networks else _WRITES),
            },
        )


def state_run(
    params: Params, data: Path, models: Sequence[RunContent], times: Mapping[str, StageTime]
) -> RunContent:
    """Return the content of the parent run: all params, headline metrics, reports, figures, commit and data."""
    files = sorted(path for path in (data / "reports").rglob("*") if path.is_file())
    flat = _flatten(params.model_dump())
    reports = {path.stem: read_mapping(path) for path in files if path.suffix == ".json"}
    relative = {str(path.relative_to(data)): sha256_of(path) for path in files}
    key = _key_of([flat, relative, [model.key for model in models]])
    origin = git_tags(data.parent)
    name, described = _origin_in_words(data.parent, origin)
    lock = data.parent / "dvc.lock"
    stages = set(whole_stages(lock.read_bytes() if lock.exists() else None) or ()) - {"publish"}
    timed = {stage: times[stage] for stage in sorted(stages & times.keys())}
    minutes = round(sum(time.duration_s for time in timed.values()) / 60, 2)
    texts = {name: about["sha256"] for name, about in reports.get("text", {}).get("texts", {}).items()}
    text = sha256_of_text(texts) if texts else ""
    tags = {
        "timemachine.kind": "pipeline",
        "timemachine.data_sha256": text,
        "mlflow.source.name": "timemachine publish",
        "mlflow.note.content": "\n\n".join([_results_in_words(reports), described]),
        **origin,
    }
    metrics = list(_scalars(_headlines(reports)))
    if timed:
        started = min(time.started for time in timed.values())
        tags |= {"timemachine.started": started, "timemachine.timed_stages": f"{len(timed)} of {len(stages)}"}
        tags["mlflow.note.content"] += (
            f"\n\n{len(timed)} of {len(stages)} stages took {minutes:.1f} minutes when they last ran on this "
            f"machine, the first at {started}. DVC took the other stages from its cache."
        )
        metrics.append((f"pipeline/{MINUTES}", minutes, 0))
    artifacts = [(str(path.parent.relative_to(data)), path) for path in files]
    dataset = ("raw", text) if text else None
    return RunContent("pipeline", f"pipeline {name or key[:8]}", key, flat, metrics, artifacts, tags, dataset)


def _headlines(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the numbers of the reports to compare states by; those of all models are in the artifacts."""
    ranking = reports["language_models"]
    models = ranking["models"]
    counted = [name for name in models if re.fullmatch(r"kneser_ney_\d+", name) and _bits(models[name], "val")]
    rows = {
        "best": ranking["best"],
        "rnn": ranking.get("best_checkpoint"),
        CONTEXT_MIXING: CONTEXT_MIXING,
        "kneser_ney": min(counted, key=lambda name: _bits(models[name], "val"), default=None),
    }
    values = {
        f"language/{row}_{part}_bits_per_character": _bits(models[name], part)
        for row, name in rows.items()
        for part in ("val", "test")
        if name in models
    }
    backtest = reports.get("backtest", {})
    chosen, mean = backtest.get("chosen", {}), backtest.get("strategies", {}).get("mean_of_best", {})
    values |= {f"forecast/mean_of_best_{key}": mean.get(key) for key in ("multistep_rmse", "multistep_mae")}
    values |= {f"forecast/best_rmse_{k}": value for k, value in chosen.get("k_step_rmse", {}).items()}
    values |= {f"forecast/best_{key}": chosen.get(key) for key in ("multistep_rmse", "multistep_mae")}
    for model, scores in reports["forecast"].items():
        values[f"forecast/{model}_one_step_rmse"] = (scores or {}).get("one_step_rmse")
    levels = reports.get("intervals", {}).get("strategies", {}).get(reports.get("intervals", {}).get("drawn"), {})
    for level, row in list(levels.items())[-1:]:
        values |= {f"forecast/interval_{key}_{level}": row.get(key) for key in ("coverage", "width")}
    return values


def _bits(scores: Mapping[str, Any], part: str) -> Any:
    return scores.get(part, {}).get("bits_per_character")


def _results_in_words(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the best models in two sentences."""
    ranking = reports["language_models"]
    best, network = ranking["best"], ranking.get("best_checkpoint")
    text = f"Best language model: {best}, {_in_words(ranking['models'][best])}."
    if network in ranking["models"]:
        text += f" Best network: {network}, {_in_words(ranking['models'][network])}."
    rmse = reports.get("backtest", {}).get("chosen", {}).get("multistep_rmse")
    return text + (f" Forecasts: RMSE {rmse:.3f} with the strategy that a backtest chose." if rmse else "")


def _in_words(scores: Mapping[str, Any]) -> str:
    """Return the bits per character of the validation and the test part in words."""
    known = {part: bits for part in ("val", "test") if (bits := _bits(scores, part)) is not None}
    return " and ".join(f"{bits:.3f} {part}" for part, bits in known.items()) + " bits per character"


def _about_model(config: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """Return the description of the run of a trained model."""
    if config["family"] == "ar":
        rmse = scores.get("one_step_rmse")
        score = f"RMSE {rmse:.3f} one step ahead" if rmse is not None else "no finite score"
        return (
            f"Autoregressive model ({config['model']}) of {config['tau']} values, seed {config['seed']}: {score}."
        )
    cell, size = config["cell"].upper(), f"{config['num_layers']} × {config['num_hiddens']} hidden units"
    what = (
        f"{cell} with {size}, seed {config['seed']}, weights of epoch {config['epoch']} of {config['num_epochs']}"
    )
    return f"{what}: {_in_words(scores)}."


def _about_mixture(networks: Sequence[str]) -> str:
    return "Context mixing" + (f" with {', '.join(networks)}" if networks else "")


def _origin_in_words(folder: Path, tags: Mapping[str, str]) -> tuple[str, str]:
    """Return a short name of a state, from its experiment or commit, and a sentence; no name without git."""
    commit = tags.get("mlflow.source.git.commit", "")
    subject = (git(folder, "log", "-1", "--format=%s", commit) or "").strip() if commit else ""
    changed = tags.get("timemachine.git_dirty") == "true"
    sentence = f"Commit {commit[:7]}, “{subject}”" if commit else "Not in a git repository"
    sentence += ", with uncommitted changes." if changed else "."
    if experiment := tags.get("DVC_EXP_NAME"):
        return experiment, f"DVC experiment {experiment}. {sentence}"
    name = f"{commit[:7]}{'+' if changed else ''} {subject}" if commit else ""
    return textwrap.shorten(name, 60, placeholder="…"), sentence


def _minutes(times: Mapping[str, StageTime], stage: str) -> list[tuple[str, float, int]]:
    """Return the time of a stage as a metric; nothing if it is not known."""
    return [(MINUTES, round(times[stage].duration_s / 60, 2), 0)] if stage in times else []


def _scalars(content: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Yield the numbers in a report, named by their keys; numbers that are always the same are left out.

    Bits per character of the validation part come first: MLflow compares runs by the metric that was logged first.
    """
    flat = _flatten(content, "_")
    for key in sorted(flat, key=lambda key: key != "val_bits_per_character"):
        value = flat[key]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not key.endswith(_CONSTANT):
            yield key, float(value), 0


def _flatten(content: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return nested mappings as one mapping with joined keys; lists are values."""
    (flat,) = pd.json_normalize(dict(content), sep=separator).to_dict("records")
    return {str(key): value for key, value in flat.items()}


def _key_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Commands that compare and use the models."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from timemachine.base.config import read_yaml
from timemachine.base.errors import UserError
from timemachine.commands.repository import experiment, use_threads_of
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.pipeline import completion, stage
from timemachine.pipeline.paths import ALIASES

_MAX_NUM_PREDS = 100_000


def compare(
    names: Annotated[
        list[str] | None,
        Argument(help="Names of the models; default: all.", autocompletion=completion.recipes),
    ] = None,
    family: Annotated[
        str,
        Option(
            help="language (all language models), rnn (recurrent), context_mixing, or ar (forecasting models)."
        ),
    ] = "language",
    metric: Annotated[
        list[str] | None, Option(help="Metric to show; may be repeated; runs are sorted by the first.")
    ] = None,
    all_params: Annotated[
        bool, Option("--params", help="Print more metrics, and the params in which the models differ.")
    ] = False,
    over_seeds: Annotated[
        bool, Option("--over-seeds", help="Print mean ± standard deviation over the seeds of each model.")
    ] = False,
    csv: Annotated[bool, Option("--csv", help="Print CSV with all metrics and all digits.")] = False,
) -> None:
    """Print a table of the models in MLflow, the best first. * marks the best value of each metric.

    val and test are bits per character on the two parts of the text. Counted models and mixtures are those of the
    state that was published last.

    --over-seeds combines finished runs on the same data that differ only in
    name and seed into one row. Of runs with the same seed the newest counts.
    A model with one seed has no standard deviation. At least one model must
    have two seeds. Names select all rows that contain one of these models.
    """
    from timemachine.tracking import compare as models
    from timemachine.tracking import seeds

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if over_seeds:
        family = "rnn" if family == models.LANGUAGE else family
        table = seeds.compare_seeds(*experiment(), family=family, names=names or (), metrics=metric or ())
        typer.echo(table.to_csv(index=False) if csv else seeds.as_text(table, width), nl=not csv)
        return
    shown = metric or (() if all_params or csv else models.SHORT_METRICS.get(family) or ())
    table = models.compare_runs(
        *experiment(), family=family, names=names or (), metrics=shown, all_metrics=csv and not metric
    )
    if csv:
        typer.echo(models.as_csv(table), nl=False)
    else:
        typer.echo(models.as_text(table, width) if all_params else models.as_ranking(table))


def generate(
    prefix: Annotated[str, Argument(help="Beginning of the text.")],
    num_preds: Annotated[int, Option(help="Number of tokens (characters, or words of a word model).")] = 50,
    temperature: Annotated[float | None, Option(help="Sample from P^(1/T); 0 is greedy.")] = None,
    alpha: Annotated[float | None, Option(help="Sample from P^alpha; the same as temperature 1/alpha.")] = None,
    top_k: Annotated[int | None, Option(help="Sample from the k most probable tokens.")] = None,
    top_p: Annotated[
        float | None, Option(help="Sample from the most probable tokens whose probabilities sum to this.")
    ] = None,
    seed: Annotated[int, Option(help="Seed of the random generator.")] = 0,
    model: Annotated[
        str,
        Option(
            help="champion, challenger or previous; the name of a recipe; context_mixing; or a checkpoint folder.",
            autocompletion=completion.models,
        ),
    ] = "champion",
) -> None:
    """Continue a text with a language model: greedily, or by sampling if one of the sampling options is given."""
    if not 1 <= num_preds <= _MAX_NUM_PREDS:
        raise UserError(f"--num-preds: {num_preds} is not from 1 to {_MAX_NUM_PREDS}")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed: {seed} is not from 0 to 2^63 - 1")
    from torch import nn

    from timemachine.language.generation.continuation import clean_prefix, sampling_of
    from timemachine.language.generation.decoding import continue_texts
    from timemachine.language.models.trained import LanguageModel
    from timemachine.pipeline.paths import find_checkpoint

    cleaned = clean_prefix(prefix)
    sampling = sampling_of(temperature, alpha, top_k, top_p)
    root = stage.repository_root()
    use_threads_of(root)
    module: nn.Module
    if model == CONTEXT_MIXING:
        from timemachine.language.ngrams.writer import count_corpus
        from timemachine.pipeline import params

        p = params.load(root / "params.yaml")
        module, tokenizer = count_corpus(root / "data/text" / p.compare_models.corpus, p.context_mixing)
    else:
        if model in ALIASES:
            from timemachine.tracking.server import load_alias

            trained = load_alias(*experiment(), model)
        else:
            if not Path(model).is_dir():
                read_yaml(root / "params.yaml")  # outside the repository there are no recipes: its error says so
            trained = LanguageModel.load(find_checkpoint(root / "data/models/rnn", model))
        module, tokenizer = trained.module, trained.tokenizer
    typer.echo(continue_texts(module, tokenizer, [cleaned], [num_preds], sampling, seed)[0])


def serve(
    model: Annotated[
        str, Option(help="champion, challenger or previous.", autocompletion=completion.aliases)
    ] = "champion",
    port: Annotated[int, Option(help="Port of 127.0.0.1.")] = 5001,
) -> None:
    """Start MLflow's model server on 127.0.0.1 with a version of the registered model."""
    if model not in ALIASES:
        raise UserError(f"--model: {model!r} is not {', '.join(ALIASES)}")
    if not 1 <= port <= 65535:
        raise UserError(f"--port: {port} is not from 1 to 65535")
    from timemachine.tracking.server import serve_version

    serve_version(*experiment(), model, port)

"""The console script `timemachine`."""

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from timemachine.base.config import ComputeParams, read_yaml, validate
from timemachine.base.errors import UserError, about
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.pipeline import completion, params, stage
from timemachine.pipeline.paths import ALIASES

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_MAX_NUM_PREDS = 100_000
_MAX_HORIZON = 10_000


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"timemachine {metadata.version('timemachine')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, Option(help="Show tracebacks.")] = False,
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Publish, compare, use and verify the results of the pipeline, and retrain its models."""
    # --debug is read by `stage.one_line_errors`, which wraps all commands.


def _experiment() -> tuple[Path, str]:
    """Return the repository root and the MLflow experiment of its params.yaml."""
    root = stage.repository_root()
    return root, params.load(root / "params.yaml").publish.experiment


def _use_threads_of(root: Path) -> None:
    """Compute with the threads of the section `compute`, or with one thread where there is no such section.

    Call it after the imports of a command: it limits the libraries that are loaded by then.
    """
    from timemachine.base import compute

    path = root / "params.yaml"
    content = read_yaml(path) if path.is_file() else None
    section = content.get("compute") if isinstance(content, dict) else None
    section = {"num_threads": 1} if section is None else section
    compute.set_up(validate(ComputeParams, section, f"{path}: compute"))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repro(context: typer.Context) -> None:
    """Repair the repository, check params.yaml, and run `dvc repro` with the arguments given (`dvc repro -h`)."""
    from timemachine.pipeline.dvc import repro as become_dvc

    arguments = [argument for argument in context.args if argument != "--debug"]
    become_dvc(stage.repository_root(), arguments, typer.echo)


@app.command()
def repair() -> None:
    """Repair what a killed DVC, a full disk or a power cut has left in this repository.

    Each repair is reported in a line. While DVC runs in this repository nothing is changed.
    """
    from timemachine.pipeline.repair import repair as repair_all

    repair_all(stage.repository_root(), typer.echo, everything=True)


@app.command("params")
def print_params(
    name: Annotated[
        str,
        Argument(
            help="A section, an entry such as train_rnn.lstm, or a recipe: lstm.",
            autocompletion=completion.sections,
        ),
    ],
) -> None:
    """Print a section or a recipe of params.yaml with all its knobs, those with their default too."""
    typer.echo(params.in_full(params.load(stage.repository_root() / "params.yaml"), name), nl=False)


@app.command()
def publish() -> None:
    """Log the results of the pipeline to MLflow. Results that MLflow has already are not logged again."""
    from timemachine.pipeline.progress import show_progress
    from timemachine.tracking.address import hide_secrets, tracking_uri
    from timemachine.tracking.publish import publish_state

    root = stage.repository_root()
    checked = params.load(root / "params.yaml")
    with show_progress("publish") as show:
        receipt = publish_state(checked, root, root / "data", show)
    uri = hide_secrets(tracking_uri(root))
    typer.echo(f"{uri} has state {receipt['state'][:8]} and {len(receipt['models'])} models")


@app.command()
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
        table = seeds.compare_seeds(*_experiment(), family=family, names=names or (), metrics=metric or ())
        typer.echo(table.to_csv(index=False) if csv else seeds.as_text(table, width), nl=not csv)
        return
    shown = metric or (() if all_params or csv else models.SHORT_METRICS.get(family) or ())
    table = models.compare_runs(
        *_experiment(), family=family, names=names or (), metrics=shown, all_metrics=csv and not metric
    )
    if csv:
        typer.echo(models.as_csv(table), nl=False)
    else:
        typer.echo(models.as_text(table, width) if all_params else models.as_ranking(table))


@app.command()
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
    _use_threads_of(root)
    module: nn.Module
    if model == CONTEXT_MIXING:
        from timemachine.language.ngrams.writer import count_corpus

        p = params.load(root / "params.yaml")
        module, tokenizer = count_corpus(root / "data/text" / p.compare_models.corpus, p.context_mixing)
    else:
        if model in ALIASES:
            from timemachine.tracking.server import load_alias

            trained = load_alias(*_experiment(), model)
        else:
            if not Path(model).is_dir():
                read_yaml(root / "params.yaml")  # outside the repository there are no recipes: its error says so
            trained = LanguageModel.load(find_checkpoint(root / "data/models/rnn", model))
        module, tokenizer = trained.module, trained.tokenizer
    typer.echo(continue_texts(module, tokenizer, [cleaned], [num_preds], sampling, seed)[0])


@app.command()
def forecast(
    file: Annotated[Path, Argument(help="CSV file with your series.")],
    time: Annotated[str, Option(help="Column with the times: numbers or dates in equal steps.")],
    value: Annotated[str, Option(help="Column with the values.")],
    horizon: Annotated[int, Option(help="Number of steps to forecast.")],
    strategy: Annotated[
        str | None, Option(help="For example last_value, harmonic, direct_ridge; default: the best in a backtest.")
    ] = None,
    interval: Annotated[float | None, Option(help="Level of prediction intervals, for example 0.9.")] = None,
    output: Annotated[
        Path | None, Option(help="CSV file to write, with a figure beside it. Default: FILE_forecast.csv here.")
    ] = None,
) -> None:
    """Forecast your own series with the strategy that has the smallest error on its past."""
    if not 1 <= horizon <= _MAX_HORIZON:
        raise UserError(f"--horizon: {horizon} is not from 1 to {_MAX_HORIZON}")
    if interval is not None and not 0 < interval < 1:
        raise UserError(f"--interval: {interval} is not between 0 and 1")
    from timemachine.forecasting import own_forecast
    from timemachine.forecasting.series.own import read_csv
    from timemachine.pipeline.progress import show_progress

    root = stage.repository_root()
    _use_threads_of(root)
    out = own_forecast.output_path(file, output)
    series = read_csv(file, time, value)
    checked = params.load(root / "params.yaml")
    with about(str(file)), show_progress("forecast") as show:
        found = own_forecast.forecast_series(series, horizon, checked, strategy, interval, show)
    found.write(series, out)
    for line in [*found.summary(), f"{out} and {own_forecast.figure_path(out)}"]:
        typer.echo(line)


@app.command()
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

    serve_version(*_experiment(), model, port)


@app.command()
def verify(
    tolerance: Annotated[
        float, Option(help="Largest relative difference of a number on another kind of machine.")
    ] = 0.01,
) -> None:
    """Run the whole pipeline again in a clean copy and compare all outputs with dvc.lock.

    Exit codes: 0 all bytes are equal, or all numbers agree on another kind of machine; 1 they differ.
    """
    if not 0 <= tolerance < 1:
        raise UserError(f"--tolerance: {tolerance} is not from 0 to 1")
    from timemachine.provenance.verify import verify_pipeline

    with stage.interruptible():
        good = verify_pipeline(stage.repository_root(), tolerance, typer.echo)
    raise typer.Exit(0 if good else 1)


@app.command()
def trace(
    target: Annotated[str, Argument(help="An output of the pipeline, or the ID of an MLflow run.")],
) -> None:
    """Print the text, params, commit and machine that a result came from, and how to reproduce it."""
    if re.fullmatch(r"[0-9a-f]{32}", target) and not Path(target).exists():
        from timemachine.tracking.run_origin import trace_run

        lines = trace_run(*_experiment(), target)
    else:
        from timemachine.provenance.trace import trace_output

        lines = list(trace_output(stage.repository_root(), target))
    typer.echo("\n".join(lines))


_Wait = Annotated[
    float, Option("--wait", metavar="MINUTES", min=0, help="Wait this long for another round, or DVC, to end.")
]


@app.command()
def retrain(
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be done, without doing it.")] = False,
    notify: Annotated[
        str,
        Option(
            envvar="TIMEMACHINE_NOTIFY",
            metavar="COMMAND",
            help="Command to run (without a shell) with the JSON report on its standard input.",
        ),
    ] = "",
    wait: _Wait = 0.0,
) -> None:
    """Accept new texts, run the pipeline, and promote the best model if it passes the gate.

    Exit codes: 0 promoted, 10 nothing new, 11 rejected, 12 another round or DVC is running, and nothing was
    changed, 1 failed. With --dry-run, 0 means that there is something to do.
    """
    from timemachine.retraining import round as one_round

    root, say = stage.repository_root(), typer.echo
    if dry_run:
        raise typer.Exit(one_round.dry_run(root, say, wait))
    raise typer.Exit(one_round.run_round(root, notify, say, wait))


@app.command()
def rollback(wait: _Wait = 0.0) -> None:
    """Make the previous champion champion again. The present champion is not promoted again.

    Exit codes: 0 done, 12 a round is running, 1 failed or no previous champion. It does not wait for DVC.
    """
    from timemachine.retraining import round as one_round

    raise typer.Exit(one_round.undo_promotion(stage.repository_root(), typer.echo, wait))


@app.command()
def history(csv: Annotated[bool, Option("--csv", help="Print CSV with all digits and columns.")] = False) -> None:
    """Print a table of the rounds of retraining, the newest last: verdicts, scores, texts and minutes.

    challenger, champion and baseline are bits per character on the validation
    part; lower is better. Of a rollback, champion is the restored version.
    """
    from timemachine.retraining.history import as_csv, as_text, read_rounds

    rounds = read_rounds(*_experiment())
    typer.echo(as_csv(rounds) if csv else as_text(rounds, shutil.get_terminal_size().columns), nl=False)


@app.command()
def status() -> None:
    """Print what is served, what waits, what runs, the last round, and how much the results take on the disk."""
    from timemachine.retraining.status import read_status

    typer.echo(read_status(stage.repository_root(), shutil.get_terminal_size().columns), nl=False)


@app.command()
def clean(
    keep: Annotated[int, Option(min=0, help="Number of the last rounds whose models and data are kept too.")],
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print what would be removed, without removing it.")
    ] = False,
    wait: _Wait = 0.0,
) -> None:
    """Remove what old rounds have left in DVC's cache, MLflow and .timemachine.

    The champion, the previous champion and the challenger are kept with the
    data that they were trained on, and so is what the last rounds judged. In
    DVC's cache, what the workspace, a branch, a tag or an experiment needs is
    kept, too.

    Exit codes: 0 done, 12 a round or DVC is running, and nothing was removed,
    1 failed.
    """
    from timemachine.retraining.clean import clean as remove_leftovers

    root = stage.repository_root()
    raise typer.Exit(remove_leftovers(root, keep, typer.echo, dry_run=dry_run, wait_minutes=wait))


@app.command()
def ui(port: Annotated[int, Option(min=1, max=65535, help="Port of 127.0.0.1.")] = 5000) -> None:
    """Start MLflow's page on 127.0.0.1 and print the addresses of tables of models, forecasts and retraining."""
    from timemachine.tracking.ui import open_page

    open_page(*_experiment(), port)


@app.command()
def report(
    output: Annotated[
        Path | None, Option(help="HTML file to write. Default: report.html in the repository root.")
    ] = None,
) -> None:
    """Write the report, one HTML file that shows all results, the state of the repository and the rounds."""
    from timemachine.report.command import write_report

    write_report(stage.repository_root(), output, typer.echo)


def main() -> None:
    """Run the console script; user errors are printed as one line."""
    with stage.one_line_errors("timemachine"):
        try:
            app()
        except SystemExit as end:
            if end.code == stage.INTERRUPTED:  # typer turns Ctrl-C into this exit code
                raise KeyboardInterrupt from None
            raise


if __name__ == "__main__":
    main()

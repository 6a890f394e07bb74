"""The console script `timemachine`."""

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from timemachine.base.errors import UserError, about
from timemachine.pipeline import params, stage
from timemachine.pipeline.paths import ALIASES

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_MAX_NUM_PREDS = 100_000
_MAX_HORIZON = 10_000


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """What `dvc repro` does not do: look after the results of the pipeline."""
    # `stage.one_line_errors`, which stands around all commands, looks for --debug itself.


@app.command()
def publish() -> None:
    """Fill MLflow from the files of the pipeline; what it has already is left alone."""
    from timemachine.tracking.address import tracking_uri, without_password
    from timemachine.tracking.publish import publish as publish_state

    root = stage.repository_root()
    receipt = publish_state(params.load(root / "params.yaml"), root, root / "data")
    uri = without_password(tracking_uri(root))
    typer.echo(f"{uri} has state {receipt['state'][:8]} and {len(receipt['models'])} models")


@app.command()
def compare(
    names: Annotated[list[str] | None, typer.Argument(help="Models to show; all by default.")] = None,
    family: Annotated[str, typer.Option(help="rnn | ar")] = "rnn",
    metric: Annotated[list[str] | None, typer.Option(help="To show; may be repeated; the first ranks.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV in full precision.")] = False,
) -> None:
    """Print the models in MLflow, best first, with the params in which they differ; * marks the best."""
    from timemachine.tracking.compare import as_csv, as_text
    from timemachine.tracking.compare import compare as compare_runs

    root = stage.repository_root()
    experiment = params.load(root / "params.yaml").publish.experiment
    comparison = compare_runs(root, experiment, family=family, names=names or (), metrics=metric or ())
    if csv:
        typer.echo(as_csv(comparison), nl=False)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(as_text(comparison, width))


@app.command()
def generate(
    prefix: Annotated[str, typer.Argument(help="What the text begins with.")],
    num_preds: Annotated[int, typer.Option(help="Characters, or words, to write.")] = 50,
    temperature: Annotated[float | None, typer.Option(help="Draw from P^(1/T); 0 is greedy.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Draw from P^alpha: 1 / temperature.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k most probable tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the nucleus of this probability.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is random.")] = 0,
    model: Annotated[
        str, typer.Option(help="champion, challenger or previous; a recipe; or a checkpoint folder.")
    ] = "champion",
) -> None:
    """Let a language model continue a text: greedily, or by draws where an option says how."""
    if not 1 <= num_preds <= _MAX_NUM_PREDS:
        raise UserError(f"--num-preds: {num_preds} is not from 1 to {_MAX_NUM_PREDS}")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed: {seed} is not from 0 to 2^63 - 1")
    from timemachine.language.generation.continuation import clean_prefix, sampling_of, write
    from timemachine.language.models.trained import LanguageModel
    from timemachine.pipeline.paths import find_checkpoint

    clean_prefix(prefix)
    sampling = sampling_of(temperature, alpha, top_k, top_p)
    root = stage.repository_root()
    if model not in ALIASES:
        trained = LanguageModel.load(find_checkpoint(root / "data/models/rnn", model))
    else:
        from timemachine.tracking.server import load_alias

        trained = load_alias(root, params.load(root / "params.yaml").publish.experiment, model)
    typer.echo(write(trained, [prefix], [num_preds], sampling, seed)[0])


@app.command()
def forecast(
    file: Annotated[Path, typer.Argument(help="A CSV file with a series of your own.")],
    time: Annotated[str, typer.Option(help="Column of the times: numbers or dates, in equal steps.")],
    value: Annotated[str, typer.Option(help="Column of the values.")],
    horizon: Annotated[int, typer.Option(help="How many steps to forecast.")],
    strategy: Annotated[
        str | None, typer.Option(help="For example last_value, harmonic, direct_ridge; by default the best.")
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Level of prediction intervals, for example 0.9.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV to write, a figure beside it; by default FILE_forecast.csv, here.")
    ] = None,
) -> None:
    """Forecast a series of your own with the strategy that would have done so best before."""
    if not 1 <= horizon <= _MAX_HORIZON:
        raise UserError(f"--horizon: {horizon} is not from 1 to {_MAX_HORIZON}")
    if interval is not None and not 0 < interval < 1:
        raise UserError(f"--interval: {interval} is not between 0 and 1")
    from timemachine.forecasting import own_forecast
    from timemachine.forecasting.series.own import read_csv

    out = own_forecast.output_path(file, output)
    series = read_csv(file, time, value)
    checked = params.load(stage.repository_root() / "params.yaml")
    with about(str(file)):
        found = own_forecast.forecast_series(series, horizon, checked, strategy, interval)
    found.write(series, out)
    for line in [*found.summary(), f"{out} and {own_forecast.figure_path(out)}"]:
        typer.echo(line)


@app.command()
def serve(
    model: Annotated[str, typer.Option(help="champion, challenger or previous.")] = "champion",
    port: Annotated[int, typer.Option(help="Of 127.0.0.1.")] = 5001,
) -> None:
    """Start MLflow's model server on this machine with a version of the registry."""
    if model not in ALIASES:
        raise UserError(f"--model: {model!r} is not {', '.join(ALIASES)}")
    if not 1 <= port <= 65535:
        raise UserError(f"--port: {port} is not from 1 to 65535")
    from timemachine.tracking.server import serve as become_server

    root = stage.repository_root()
    become_server(root, params.load(root / "params.yaml").publish.experiment, model, port)


@app.command()
def verify(
    tolerance: Annotated[
        float, typer.Option(help="Part of its size by which a number may differ on another kind of machine.")
    ] = 0.01,
) -> None:
    """Run the whole pipeline again in a clean copy, and compare every output with dvc.lock.

    Exit codes: 0 the same to the byte, or on another kind of machine all numbers agree; 1 not so.
    """
    if not 0 <= tolerance < 1:
        raise UserError(f"--tolerance: {tolerance} is not from 0 to 1")
    from timemachine.provenance.verify import verify as verify_all

    with stage.interruptible():
        good = verify_all(stage.repository_root(), tolerance, typer.echo)
    raise typer.Exit(0 if good else 1)


@app.command()
def trace(
    target: Annotated[str, typer.Argument(help="An output of the pipeline, or the id of an MLflow run.")],
) -> None:
    """Say from which text, params, commit and machine a result came, and whether it can be made again now."""
    root = stage.repository_root()
    if re.fullmatch(r"[0-9a-f]{32}", target) and not Path(target).exists():
        from timemachine.tracking.provenance import trace_run

        experiment = params.load(root / "params.yaml").publish.experiment
        typer.echo("\n".join(trace_run(root, experiment, target)))
    else:
        from timemachine.provenance.trace import trace_output

        typer.echo("\n".join(trace_output(root, target)))


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    notify: Annotated[
        str,
        typer.Option(
            envvar="TIMEMACHINE_NOTIFY",
            metavar="COMMAND",
            help="Call this, without a shell, with the JSON report on its standard input.",
        ),
    ] = "",
) -> None:
    """Take new texts in, run what changed, and promote the best model if it passes the gate.

    Exit codes: 0 promoted, 10 nothing new, 11 rejected, 12 another round is under way, 1 failed. With --dry-run
    0 says that there is something to do.
    """
    from timemachine.retraining import round as one_round

    root = stage.repository_root()
    say = typer.echo
    raise typer.Exit(one_round.dry_run(root, say) if dry_run else one_round.retrain(root, notify, say))


@app.command()
def rollback() -> None:
    """Put the previous champion back; no round promotes the other one again.

    Exit codes: 0 done, 12 a round is under way, 1 failed, or there is nothing to roll back to.
    """
    from timemachine.retraining import round as one_round

    raise typer.Exit(one_round.rollback(stage.repository_root(), typer.echo))


def main() -> None:
    """Run the console script; a user's mistake ends in one line."""
    with stage.one_line_errors("timemachine"):
        try:
            app()
        except SystemExit as end:
            if end.code == stage.INTERRUPTED:  # so typer takes Ctrl-C, without a word
                raise KeyboardInterrupt from None
            raise


if __name__ == "__main__":
    main()

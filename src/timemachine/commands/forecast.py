"""The command that forecasts your own series."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from timemachine.base import compute
from timemachine.base.config import ComputeParams
from timemachine.base.errors import UserError, about
from timemachine.commands.repository import use_threads_of
from timemachine.forecasting.series.config import Fill, Layout, Steps, column_and_text
from timemachine.pipeline import stage

if TYPE_CHECKING:
    from timemachine.forecasting.models.config import ArRecipe
    from timemachine.forecasting.own.forecast import Options
    from timemachine.forecasting.series.own import OwnSeries

_MAX_HORIZON = 10_000
_MOST_NAMED = 5


def forecast(
    file: Annotated[Path, Argument(help="CSV file with your series; it may be compressed.")],
    horizon: Annotated[int | None, Option(help="Number of steps to forecast.")] = None,
    time: Annotated[
        str | None, Option(help="Column with the times: numbers or dates. Default: the only one that has them.")
    ] = None,
    value: Annotated[
        str | None, Option(help="Column with the values. Default: the only other one that has numbers.")
    ] = None,
    date_format: Annotated[
        str | None, Option(help="Form of the dates, for example '%d/%m/%Y'. Default: found by the content.")
    ] = None,
    steps: Annotated[
        Steps, Option(help="rows: each row is one step after the row before, whatever their times.")
    ] = "equal",
    fill: Annotated[
        Fill | None,
        Option(help="Fill missing rows and values: by a line between their neighbours, or by the value before."),
    ] = None,
    where: Annotated[
        str | None, Option(metavar="COLUMN=VALUE", help="Read only the rows that have this value in this column.")
    ] = None,
    columns: Annotated[bool, Option("--columns", help="List the columns of the file, and stop.")] = False,
    every: Annotated[bool, Option("--all", help="Forecast every series of the file; needs --id.")] = False,
    id_column: Annotated[
        str | None, Option("--id", metavar="COLUMN", help="Column that tells the series of the file apart.")
    ] = None,
    strategy: Annotated[
        str | None, Option(help="Use one strategy, for example theta or harmonic. Default: the mean of the best.")
    ] = None,
    interval: Annotated[float | None, Option(help="Level of prediction intervals, for example 0.9.")] = None,
    lower: Annotated[float | None, Option(help="Smallest possible value, for example 0.")] = None,
    log: Annotated[
        bool | None,
        Option(
            "--log/--no-log", help="Forecast logarithms, or not. Default: what has smaller errors on the past."
        ),
    ] = None,
    verbose: Annotated[bool, Option("--verbose", help="Rank all strategies that were tried.")] = False,
    output: Annotated[
        Path | None, Option(help="CSV file to write, with a figure beside it. Default: FILE_forecast.csv here.")
    ] = None,
) -> None:
    """Forecast your own series by the mean of the strategies with the smallest errors on its past.

    The file is read as it is: with any usual separator, decimal comma, form of dates and compression, the newest
    row first or last. No repository is needed, except for strategies with a trained model.
    """
    from timemachine.forecasting.series.own import columns_of, read_all, read_series

    if columns:
        typer.echo("\n".join(columns_of(file)))
        return
    if horizon is None:
        raise UserError("--horizon is missing: the number of steps to forecast")
    if not 1 <= horizon <= _MAX_HORIZON:
        raise UserError(f"--horizon: {horizon} is not from 1 to {_MAX_HORIZON}")
    if interval is not None and not 0 < interval < 1:
        raise UserError(f"--interval: {interval} is not between 0 and 1")
    if every != (id_column is not None):
        raise UserError("--all and --id go together: --all --id COLUMN forecasts every series of the file")
    with about("--where"):
        layout = Layout(time, value, date_format, steps, fill, None if where is None else column_and_text(where))

    import numpy as np

    from timemachine.forecasting.own import result
    from timemachine.forecasting.own.forecast import Options, forecast_series
    from timemachine.pipeline.progress import show_progress

    out = result.output_path(file, output)
    options = Options(strategy, interval, log, lower, _recipes(strategy))
    if id_column is not None:
        _forecast_all(read_all(file, layout, id_column), horizon, options, out, id_column)
        return
    series = read_series(file, layout)
    with about(str(file)), show_progress("forecast") as show:
        future = series.future(horizon)
        found = forecast_series(series.x, series.seasons, horizon, options, show)
    figure = result.figure_path(out)
    times = np.concatenate([series.time, future])
    result.draw(figure, file.name.partition(".")[0], series.value_name, times, series.x, found)
    result.write_table(out, [(None, future, found, series.decimals)])
    for line in [*result.summary(found, verbose), f"{out} and {figure}"]:
        typer.echo(line)


def _forecast_all(
    series: "Mapping[str, OwnSeries | UserError]", horizon: int, options: "Options", out: Path, id_column: str
) -> None:
    """Write the forecasts of all series that can be forecast, then name the others."""
    from timemachine.forecasting.own import result
    from timemachine.forecasting.own.many import forecast_many
    from timemachine.pipeline.progress import show_progress

    with show_progress("forecast", steady=True) as show:
        found = forecast_many(series, horizon, options, show)
    rows, failed, num_better = [], {}, 0
    for name, one in found.items():
        own = series[name]
        if isinstance(one, UserError) or isinstance(own, UserError):
            failed[name] = one
        else:
            rows.append((name, own.future(horizon), one, own.decimals))
            num_better += one.mae < one.ranking["last_value"]
    if rows:
        result.write_table(out, rows, id_column)
        typer.echo(f"{len(rows)} series, {result.steps(horizon)} each: {out}")
        typer.echo(f"At rolling origins, {num_better} of the forecasts are better than the last value.")
    if failed:
        named = "; ".join(f"{name}: {error}" for name, error in list(failed.items())[:_MOST_NAMED])
        named += "; …" if len(failed) > _MOST_NAMED else ""
        raise UserError(f"no forecast for {len(failed)} of {len(found)} series: {named}")


def _recipes(strategy: str | None) -> "Mapping[str, ArRecipe]":
    """Return the trained models of params.yaml if a strategy may be one of them, and set the number of threads."""
    from timemachine.forecasting.strategies.candidates import CANDIDATES
    from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES

    trained = strategy is not None and strategy not in CANDIDATES and strategy.startswith(LAG_STRATEGIES)
    path = stage.repository_root() / "params.yaml"
    if trained and path.is_file():
        import torch  # noqa: F401  # before its threads are limited

        from timemachine.pipeline import params

        use_threads_of(path.parent)
        return params.load(path).train_ar
    compute.set_up(ComputeParams(num_threads=1))  # the matrices are so small that more threads only wait
    return {}

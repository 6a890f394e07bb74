"""The command that forecasts your own series."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from timemachine.base.errors import UserError, about
from timemachine.commands.repository import use_threads_of
from timemachine.forecasting.evaluation.config import IntervalsParams
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.series.config import Fill, Layout, Steps, column_and_text
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.pipeline import params, stage

_MAX_HORIZON = 10_000


@dataclass
class _Defaults:
    """The sections that a forecast uses, where there is no params.yaml."""

    train_ar: dict[str, ArRecipe] = field(default_factory=dict)
    choose_tau: ChooseTauParams = field(default_factory=ChooseTauParams)
    backtest: BacktestParams = field(
        default_factory=lambda: BacktestParams(
            num_observed=604, num_validation=200, horizon=64, num_seeds=1, trained={}
        )
    )
    intervals: IntervalsParams = field(default_factory=lambda: IntervalsParams(levels=[0.9], num_seeds=1))


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
    strategy: Annotated[
        str | None, Option(help="For example last_value, harmonic, direct_ridge; default: the best in a backtest.")
    ] = None,
    interval: Annotated[float | None, Option(help="Level of prediction intervals, for example 0.9.")] = None,
    output: Annotated[
        Path | None, Option(help="CSV file to write, with a figure beside it. Default: FILE_forecast.csv here.")
    ] = None,
) -> None:
    """Forecast your own series with the strategy that has the smallest error on its past.

    The file is read as it is: with any usual separator, decimal comma, form of dates and compression, the newest
    row first or last. No repository is needed, except for strategies with a trained model.
    """
    from timemachine.forecasting.series.own import columns_of, read_series

    if columns:
        typer.echo("\n".join(columns_of(file)))
        return
    if horizon is None:
        raise UserError("--horizon is missing: the number of steps to forecast")
    if not 1 <= horizon <= _MAX_HORIZON:
        raise UserError(f"--horizon: {horizon} is not from 1 to {_MAX_HORIZON}")
    if interval is not None and not 0 < interval < 1:
        raise UserError(f"--interval: {interval} is not between 0 and 1")
    with about("--where"):
        chosen = None if where is None else column_and_text(where)
    series = read_series(file, Layout(time, value, date_format, steps, fill, chosen))

    from timemachine.forecasting import own_forecast
    from timemachine.pipeline.progress import show_progress

    root = stage.repository_root()
    use_threads_of(root)
    out = own_forecast.output_path(file, output)
    path = root / "params.yaml"
    sections = params.load(path) if path.is_file() else _Defaults()
    with about(str(file)), show_progress("forecast") as show:
        found = own_forecast.forecast_series(series, horizon, sections, strategy, interval, show)
    found.write(series, out)
    for line in [*found.summary(), f"{out} and {own_forecast.figure_path(out)}"]:
        typer.echo(line)

"""A table of the trained models in MLflow: a row for each run, columns for metrics and for params that differ."""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timemachine.base.errors import UserError
from timemachine.tracking.address import hide_secrets
from timemachine.tracking.store import Store, open_store

# The metrics of each family that are shown by default; runs are sorted by the first. For language models that is a
# score on the validation part, because the test part must not choose a model.
DEFAULT_METRICS = {
    "rnn": (
        "val_bits_per_character",
        "test_bits_per_character",
        "val_perplexity",
        "test_perplexity",
        "training/perplexity",
    ),
    "ar": ("one_step_rmse", "multistep_rmse", "k_step_rmse_"),
}
_ABOUT = ["name", "run_id", "status", "start_time"]
_MOST_RUNS_IN_ONE_REQUEST = 1000
_LONGEST_HEADING, _LONGEST_CELL = 14, 16
_WIDEST = 100_000
# A no-break space: rich strips other spaces at the end of a cell, which would shift the digits.
_NO_MARK = "\u00a0"


@dataclass(frozen=True)
class Comparison:
    """Runs, the best first.

    Attributes:
        table: a row for each run, with name, run_id, status, start_time and the columns of `metrics` and `params`.
        metrics: names of the columns with metrics, `metrics.NAME` as in MLflow; rows are sorted by the first.
        params: names of the columns with params, `params.NAME`; only params in which the runs differ.
    """

    table: pd.DataFrame
    metrics: Sequence[str]
    params: Sequence[str]

    def best(self) -> pd.DataFrame:
        """Return a table of booleans, a column for each metric: whether a run has the best value.

        The smallest value is the best. Counts, speeds and the load of the machine have no best value. A run that
        is not finished is never the best.
        """
        finished = self.table["status"] == "FINISHED"
        marks = pd.DataFrame(False, index=self.table.index, columns=list(self.metrics))
        for metric in self.metrics:
            if not metric.endswith(("tokens", "_per_s")) and not metric.startswith("metrics.system/"):
                marks[metric] = finished & (self.table[metric] == self.table.loc[finished, metric].min())
        return marks


def compare_runs(
    root: Path, experiment: str, *, family: str = "rnn", names: Sequence[str] = (), metrics: Sequence[str] = ()
) -> Comparison:
    """Return the runs of a family in the store, sorted by their first metric.

    Runs that are not finished come last.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment.
        family: `rnn` or `ar`.
        names: the models to show; empty: all.
        metrics: the metrics to show; empty: those of `DEFAULT_METRICS` that the runs have.

    Raises:
        UserError: there is no such family, model or metric, there are no runs, or the store cannot be read.
    """
    if family not in DEFAULT_METRICS:
        raise UserError(f"no family {family!r}; known: {', '.join(DEFAULT_METRICS)}")
    with open_store(root, experiment, alone=False, create=False) as store:
        rows = [_row(run) for run in _runs_of(store, family)]
    if not rows:
        raise UserError(
            f"MLflow at {hide_secrets(store.uri)} has no {family} models in experiment {experiment!r}; "
            "run `timemachine publish`"
        )
    frame = pd.DataFrame(rows)
    if names:
        _check("model", names, frame["name"])
        frame = frame[frame["name"].isin(names)]
    columns = [str(column) for column in frame]
    known = sorted(column for column in columns if column.startswith("metrics.") and frame[column].notna().any())
    if metrics:
        _check("metric", metrics, [column.removeprefix("metrics.") for column in known])
        shown = [f"metrics.{metric}" for metric in dict.fromkeys(metrics)]
    else:
        shown = [column for start in DEFAULT_METRICS[family] for column in _starting(f"metrics.{start}", known)]
    differing = [column for column in columns if column.startswith("params.") and _differs(frame[column])]
    frame = frame.assign(unfinished=frame["status"] != "FINISHED")
    frame = frame.sort_values(["unfinished", *shown[:1], "name", "start_time", "run_id"], ignore_index=True)
    return Comparison(frame[[*_ABOUT, *shown, *differing]], shown, differing)


def as_csv(comparison: Comparison) -> str:
    """Return the table as CSV in full precision; the column `best_in` lists the metrics in which a run is best."""
    marks = comparison.best()
    names = [metric.removeprefix("metrics.") for metric in comparison.metrics]
    best = [" ".join(name for name, mark in zip(names, row, strict=True) if mark) for row in marks.to_numpy()]
    table = comparison.table.copy()
    table.insert(len(_ABOUT), "best_in", best)
    return str(table.to_csv(index=False))


def as_text(comparison: Comparison, width: int | None = None) -> str:
    """Return the table as text; a `*` marks the best value of each metric.

    Args:
        comparison: the runs.
        width: characters in a line. Columns that do not fit go into further tables with the same runs. None: one
            table without line breaks.
    """
    table, marks = comparison.table, comparison.best()
    runs = {"run": list(table["name"])}
    if table["name"].duplicated().any():
        runs["run_id"] = list(table["run_id"].str[:8])
        runs["date"] = list(table["start_time"].dt.strftime("%Y-%m-%d"))
    if (table["status"] != "FINISHED").any():
        runs["status"] = list(table["status"].str.lower())
    columns = {}
    for metric in comparison.metrics:
        columns[metric.removeprefix("metrics.")] = [
            ("-" if pd.isna(value) else f"{value:#.5g}") + ("*" if mark else _NO_MARK)
            for value, mark in zip(table[metric], marks[metric], strict=True)
        ]
    for param in comparison.params:
        columns[param.removeprefix("params.")] = ["-" if pd.isna(value) else _cut(value) for value in table[param]]
    tables = [_text_table(runs, part, width) for part in _parts(runs, columns, width)]
    return "\n\n".join(tables)


def _text_table(
    runs: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], width: int | None = None
) -> str:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in [*runs, *columns]:
        # Broken after `_` and `/`; rich breaks lines at spaces only.
        parts = re.sub("([_/])", r"\1 ", name)
        lines = [parts] if width is None else textwrap.wrap(parts, _LONGEST_HEADING)
        heading = "\n".join(line.replace(" ", "") for line in lines)
        table.add_column(
            Text(heading), justify="left" if name in runs else "right", no_wrap=True, vertical="bottom"
        )
    for row in zip(*runs.values(), *columns.values(), strict=True):
        table.add_row(*map(Text, row))
    # Wide enough for everything: a narrower console would cut cells off.
    console = Console(file=io.StringIO(), color_system=None, width=_WIDEST)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.replace(_NO_MARK, " ").rstrip() for line in captured.get().splitlines())


def _parts(
    runs: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], width: int | None
) -> Iterator[dict[str, Sequence[str]]]:
    """Yield the columns in groups that fit into the width, each beside the columns that name the runs."""
    part: dict[str, Sequence[str]] = {}
    for name, cells in columns.items():
        wider = {**part, name: cells}
        if part and width is not None and max(map(len, _text_table(runs, wider, width).splitlines())) > width:
            yield part
            wider = {name: cells}
        part = wider
    yield part


def _runs_of(store: Store, family: str) -> Iterator[Run]:
    wanted = f"tags.`timemachine.kind` = 'model' and tags.`timemachine.family` = '{family}'"
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], wanted, max_results=_MOST_RUNS_IN_ONE_REQUEST, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _row(run: Run) -> dict[str, object]:
    # The name is a param of each model too, but it has its own column.
    params = {f"params.{key}": value for key, value in sorted(run.data.params.items()) if key != "name"}
    return {
        "name": run.info.run_name,
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        **{f"metrics.{key}": value for key, value in run.data.metrics.items()},
        **params,
    }


def _check(what: str, wanted: Sequence[str], known: Sequence[str] | pd.Series) -> None:
    for name in wanted:
        if name not in set(known):
            raise UserError(f"no {what} {name!r}; known: {', '.join(sorted(set(known)))}")


def _starting(start: str, columns: Sequence[str]) -> list[str]:
    """Return the column of that name; for a name that ends in `_` the columns with a number after it, sorted."""
    if not start.endswith("_"):
        return [column for column in columns if column == start]
    numbered = [column for column in columns if column.removeprefix(start).isdigit()]
    return sorted(numbered, key=lambda column: int(column.removeprefix(start)))


def _differs(column: "pd.Series[str]") -> bool:
    return column.nunique(dropna=False) > 1


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_CELL else f"{value[: _LONGEST_CELL // 2]}…"

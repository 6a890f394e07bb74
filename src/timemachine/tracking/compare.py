"""A table of the trained models in MLflow: a row for each run, columns for metrics and for params that differ."""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timemachine.base.errors import UserError
from timemachine.tracking.address import hide_secrets
from timemachine.tracking.store import open_store

# Regular expressions of the metrics of each family that are shown by default; runs are sorted by the first. For
# language models that is a score on the validation part, because the test part must not choose a model.
DEFAULT_METRICS = {
    "rnn": (
        "val_bits_per_character",
        "test_bits_per_character",
        "val_perplexity",
        "test_perplexity",
        "training/perplexity",
    ),
    "ar": ("one_step_rmse", "multistep_rmse", r"k_step_rmse_\d+"),
}
_ABOUT = ["name", "run_id", "status", "start_time"]
_LONGEST_HEADING, _LONGEST_CELL = 14, 16
_WIDEST = 100_000
# A no-break space: rich strips other spaces at the end of a cell, which would shift the digits.
_NO_MARK = "\u00a0"


def compare_runs(
    root: Path, experiment: str, *, family: str = "rnn", names: Sequence[str] = (), metrics: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a table of the runs of a family in the store, the best first.

    The columns are name, run_id, status, start_time, `metrics.NAME` of each metric to show, and `params.NAME` of
    each param in which the runs differ. The rows are sorted by the first metric; runs that are not finished come
    last.

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
    wanted = f"tags.`timemachine.kind` = 'model' and tags.`timemachine.family` = '{family}'"
    rows: list[dict[str, object]] = []
    token = None
    with open_store(root, experiment, alone=False, create=False) as store:
        while token != "":
            page = store.client.search_runs([store.experiment_id], wanted, page_token=token)
            rows += map(_row, page)
            token = page.token or ""
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
    known = [column.removeprefix("metrics.") for column in columns if column.startswith("metrics.")]
    known = [metric for metric in known if frame[f"metrics.{metric}"].notna().any()]
    if metrics:
        _check("metric", metrics, known)
        shown = list(dict.fromkeys(metrics))
    else:
        known.sort(key=lambda name: (len(name), name))  # 10 comes after 9
        shown = [name for pattern in DEFAULT_METRICS[family] for name in known if re.fullmatch(pattern, name)]
    differing = [name for name in columns if name.startswith("params.") and frame[name].nunique(dropna=False) > 1]
    frame = frame.assign(unfinished=frame["status"] != "FINISHED")
    shown = [f"metrics.{name}" for name in shown]
    frame = frame.sort_values(["unfinished", *shown[:1], "name", "start_time", "run_id"], ignore_index=True)
    return frame[[*_ABOUT, *shown, *differing]]


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of booleans, a column for each metric: whether a run has the best value.

    The smallest value is the best. Counts, speeds and the load of the machine have no best value. A run that is
    not finished is never the best.
    """
    finished = table[table["status"] == "FINISHED"].reindex(table.index)  # NaN for other runs
    values = finished.filter(regex=r"^metrics\.")
    marks = values.eq(values.min())
    marks[values.filter(regex=r"(tokens|_per_s)$|^metrics\.system/").columns] = False
    return marks.rename(columns=lambda name: name.removeprefix("metrics."))


def as_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV in full precision; the column `best_in` lists the metrics in which a run is best."""
    marks, table = best(table), table.copy()
    names = [" ".join(marks.columns[row]) for row in marks.to_numpy(dtype=bool)]
    table.insert(len(_ABOUT), "best_in", names)
    return str(table.to_csv(index=False))


def as_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return the table as text; a `*` marks the best value of each metric.

    Args:
        table: as `compare_runs` returns it.
        width: characters in a line. Columns that do not fit go into further tables with the same runs. None: one
            table without line breaks.
    """
    runs = {"run": list(table["name"])}
    if table["name"].duplicated().any():
        runs["run_id"] = list(table["run_id"].str[:8])
        runs["date"] = list(table["start_time"].dt.strftime("%Y-%m-%d"))
    if (table["status"] != "FINISHED").any():
        runs["status"] = list(table["status"].str.lower())
    columns = {}
    for metric, marks in best(table).items():
        columns[str(metric)] = [
            ("-" if pd.isna(value) else f"{value:#.5g}") + ("*" if mark else _NO_MARK)
            for value, mark in zip(table[f"metrics.{metric}"], marks, strict=True)
        ]
    for param, values in table.filter(regex=r"^params\.").items():
        columns[str(param).removeprefix("params.")] = ["-" if pd.isna(value) else _cut(value) for value in values]
    tables = [_text_table(runs, part, width) for part in _parts(runs, columns, width)]
    return "\n\n".join(tables)


def _text_table(runs: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], width: int | None) -> str:
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


def _row(run: Run) -> dict[str, object]:
    return {
        "name": run.info.run_name,
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        **{f"metrics.{key}": value for key, value in run.data.metrics.items()},
        # The name is a param of each model too, but it has its own column.
        **{f"params.{key}": value for key, value in sorted(run.data.params.items()) if key != "name"},
    }


def _check(what: str, wanted: Sequence[str], known: Sequence[str] | pd.Series) -> None:
    for name in wanted:
        if name not in set(known):
            raise UserError(f"no {what} {name!r}; known: {', '.join(sorted(set(known)))}")


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_CELL else f"{value[: _LONGEST_CELL // 2]}…"

"""The trained models of MLflow side by side: runs × metrics × the params in which they differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow.entities import Run

from timemachine.base.errors import UserError
from timemachine.tracking.address import without_password
from timemachine.tracking.store import Store, open_store

# Of each family, what is shown unless metrics are asked for; the first one ranks. For language models that is
# a score of the validation text: the test text chooses nothing.
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
_LONGEST_HEADING, _LONGEST_CELL = 13, 16


@dataclass(frozen=True)
class Comparison:
    """Runs, the best first.

    Attributes:
        table: a row per run: its name, run_id, status and start_time, then what the next two name.
        metrics: the columns of `table` that hold metrics, `metrics.…` as in `mlflow.search_runs`; the first ranks.
        params: the columns of `table` that hold the params in which the rows differ, `params.…`.
    """

    table: pd.DataFrame
    metrics: Sequence[str]
    params: Sequence[str]

    def best(self) -> pd.DataFrame:
        """Return in which metrics which row is best: a table of booleans.

        The least is the best, as it is for errors, bits and perplexities; of counts and of the machine's load
        none is. A run that is not finished is never the best.
        """
        finished = self.table["status"] == "FINISHED"
        marks = pd.DataFrame(False, index=self.table.index, columns=list(self.metrics))
        for metric in self.metrics:
            if not metric.endswith(("tokens", "_per_s")) and not metric.startswith("metrics.system/"):
                marks[metric] = finished & (self.table[metric] == self.table.loc[finished, metric].min())
        return marks


def compare(
    root: Path, experiment: str, *, family: str = "rnn", names: Sequence[str] = (), metrics: Sequence[str] = ()
) -> Comparison:
    """Return the runs of a family in the store, ranked by their first metric.

    Runs that are not finished come last; with them `status` says what they are.

    Args:
        root: the repository root, where the default store lies.
        experiment: name of the MLflow experiment.
        family: `rnn` or `ar`.
        names: of the models to show; none: all.
        metrics: to show; none: those of `DEFAULT_METRICS` that there are.

    Raises:
        UserError: no such family, model or metric, no run at all, or the store cannot be read.
    """
    if family not in DEFAULT_METRICS:
        raise UserError(f"no family {family!r}; known: {', '.join(DEFAULT_METRICS)}")
    with open_store(root, experiment, alone=False, create=False) as store:
        rows = [_row(run) for run in _runs_of(store, family)]
    if not rows:
        raise UserError(
            f"MLflow at {without_password(store.uri)} has no {family} models in experiment {experiment!r}; "
            "`timemachine publish` brings them"
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
    """Return the table as CSV in full precision; `best_in` lists the metrics in which a run is the best."""
    marks = comparison.best()
    names = [metric.removeprefix("metrics.") for metric in comparison.metrics]
    best = [" ".join(name for name, mark in zip(names, row, strict=True) if mark) for row in marks.to_numpy()]
    table = comparison.table.copy()
    table.insert(len(_ABOUT), "best_in", best)
    return str(table.to_csv(index=False))


def as_text(comparison: Comparison, width: int | None = None) -> str:
    """Return the table for people: the best value of each metric has a `*`.

    Args:
        comparison: what to show.
        width: characters in a line; columns that do not fit go into a further table below, with the same runs.
            None: one table, however wide.
    """
    table, marks = comparison.table, comparison.best()
    runs = [_column("run", table["name"], left=True)]
    if table["name"].duplicated().any():
        runs.append(_column("run_id", table["run_id"].str[:8], left=True))
        runs.append(_column("date", table["start_time"].dt.strftime("%Y-%m-%d"), left=True))
    if (table["status"] != "FINISHED").any():
        runs.append(_column("status", table["status"].str.lower(), left=True))
    columns = []
    for metric in comparison.metrics:
        cells = [
            ("-" if pd.isna(value) else f"{value:#.5g}") + ("*" if mark else " ")
            for value, mark in zip(table[metric], marks[metric], strict=True)
        ]
        columns.append(_column(metric.removeprefix("metrics."), cells))
    for param in comparison.params:
        cells = ["-" if pd.isna(value) else _cut(value) for value in table[param]]
        columns.append(_column(param.removeprefix("params."), cells))
    return "\n\n".join(_join(block) for block in _blocks(runs, columns, width))


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
    # The name, too, is a param of a model, in which all differ.
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
    """Return the column of that name, or where the name ends in `_` all numbered ones, by their number."""
    if not start.endswith("_"):
        return [column for column in columns if column == start]
    numbered = [column for column in columns if column.removeprefix(start).isdigit()]
    return sorted(numbered, key=lambda column: int(column.removeprefix(start)))


def _differs(column: "pd.Series[str]") -> bool:
    return column.nunique(dropna=False) > 1


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_CELL else f"{value[: _LONGEST_CELL // 2]}…"


def _column(heading: str, cells: Sequence[str] | pd.Series, *, left: bool = False) -> list[str]:
    """Return the lines of a column, all of one width; a long heading takes several, broken after `_` or `/`."""
    lines = [""]
    for part in heading.replace("_", "_\0").replace("/", "/\0").split("\0"):
        if lines[-1] and len(lines[-1] + part) > _LONGEST_HEADING:
            lines.append("")
        lines[-1] += part
    everything = [*lines, *cells]
    width = max(map(len, everything))
    return [line.ljust(width) if left else line.rjust(width) for line in everything]


def _join(columns: Sequence[Sequence[str]]) -> str:
    """Return columns side by side; they end in the same line."""
    height = max(map(len, columns))
    padded = [[" " * len(column[0])] * (height - len(column)) + list(column) for column in columns]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*padded, strict=True))


def _blocks(
    runs: Sequence[list[str]], columns: Sequence[list[str]], width: int | None
) -> Iterator[Sequence[list[str]]]:
    """Yield the columns in groups that fit into the width, each behind the columns that name the runs."""
    block = list(runs)
    for column in columns:
        used = sum(len(lines[0]) + 2 for lines in [*block, column]) - 2
        if width is not None and used > width and len(block) > len(runs):
            yield block
            block = list(runs)
        block.append(column)
    yield block

"""A table of the models in MLflow: a row for each run, and for each model of the last report that has no run."""

import io
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timemachine.base.errors import UserError
from timemachine.base.files import read_mapping
from timemachine.tracking import registry
from timemachine.tracking.address import hide_secrets
from timemachine.tracking.runs import minutes_of
from timemachine.tracking.store import Store, local_folder, open_store

# Regular expressions of the metrics of each family that are shown by default; runs are sorted by the first. For
# language models that is a score on the validation part, because the test part must not choose a model.
LANGUAGE = "language"
_BITS = ("val_bits_per_character", "test_bits_per_character")
DEFAULT_METRICS = {
    LANGUAGE: (*_BITS, "val_perplexity", "test_perplexity"),
    "rnn": (
        "val_bits_per_character",
        "test_bits_per_character",
        "val_perplexity",
        "test_perplexity",
        "training/perplexity",
    ),
    "context_mixing": (
        "val_bits_per_character",
        "test_bits_per_character",
        "val_perplexity",
        "test_perplexity",
    ),
    "ar": ("one_step_rmse", "multistep_rmse", r"k_step_rmse_\d+"),
}
_ABOUT = ["name", "run_id", "status", "start_time", "minutes", "alias"]
# Metrics of the short table, and headings for them.
SHORT_METRICS = {
    **dict.fromkeys((LANGUAGE, "rnn", "context_mixing"), _BITS),
    "ar": ("one_step_rmse", "multistep_rmse"),
}
_SHORT = dict(zip(_BITS, ("val", "test"), strict=True))
_LONGEST_NAME = 27
LONGEST_CELL = 16
_LONGEST_HEADING = 14
_WIDEST = 100_000
_REPORT = "reports/language_models.json"
# A blank that is not white space: rich strips white space at the end of a cell, which would shift the digits.
PADDING = "\u2800"


def compare_runs(
    root: Path,
    experiment: str,
    *,
    family: str = "rnn",
    names: Sequence[str] = (),
    metrics: Sequence[str] = (),
    all_metrics: bool = False,
) -> pd.DataFrame:
    """Return a table of the runs of a family in the store, the best first.

    The columns are name, run_id, status, start_time, minutes, alias (in the registry), `metrics.NAME` of each
    metric to show, and `params.NAME` of each param in which the runs differ. The rows are sorted by the first
    metric; runs that are not finished come last.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment.
        family: `rnn`, `context_mixing`, `ar`, or `language`: the first two, and the counted models and mixtures in
            the report of the state that was published last, which have no runs.
        names: the models to show; empty: all.
        metrics: the metrics to show; empty: those of `DEFAULT_METRICS` that the runs have.
        all_metrics: show all metrics after these.

    Raises:
        UserError: there is no such family, model or metric, there are no runs, or the store cannot be read.
    """
    frame = everything = read_runs(root, experiment, family)
    if names:
        check_known("model", names, frame["name"])
        frame = frame[frame["name"].isin(names)]
    # A metric that none of the named models has is shown as missing.
    shown = choose_metrics(everything if metrics else frame, family, metrics)
    if all_metrics:
        known = frame.filter(regex=r"^metrics\.").dropna(axis="columns", how="all")
        shown = list(dict.fromkeys([*shown, *known]))
    params = frame.filter(regex=r"^params\.")
    frame = frame.assign(unfinished=frame["status"] != "FINISHED")
    frame = frame.sort_values(["unfinished", *shown[:1], "name", "start_time", "run_id"], ignore_index=True)
    return frame[[*_ABOUT, *shown, *params.columns[params.nunique(dropna=False) > 1]]]


def read_runs(root: Path, experiment: str, family: str) -> pd.DataFrame:
    """Return all runs of a family with all metrics and params; columns as in `compare_runs`.

    Raises:
        UserError: there is no such family, there are no runs, or the store cannot be read.
    """
    if family not in DEFAULT_METRICS:
        raise UserError(f"no family {family!r}; known: {', '.join(DEFAULT_METRICS)}")
    wanted = "tags.`timemachine.kind` = 'model' and tags.`timemachine.family` "
    wanted += "!= 'ar'" if family == LANGUAGE else f"= '{family}'"
    with open_store(root, experiment, alone=False, create=False) as store:
        runs = store.client.search_runs([store.experiment_id], wanted, max_results=SEARCH_MAX_RESULTS_THRESHOLD)
        aliases = registry.aliases_of_runs(store)
        rows = [_row(run, aliases) for run in runs]
        if family == LANGUAGE and runs:
            with_runs = {row["name"] for row in rows}
            rows += [row for row in _counted(store) if row["name"] not in with_runs]
    if not rows:
        raise UserError(
            f"MLflow at {hide_secrets(store.client.tracking_uri)} has no {family} models in experiment "
            f"{experiment!r}; run `timemachine publish`"
        )
    return pd.DataFrame(rows)


def choose_metrics(frame: pd.DataFrame, family: str, metrics: Sequence[str]) -> list[str]:
    """Return the columns of the metrics to show; empty `metrics`: those of `DEFAULT_METRICS`.

    Raises:
        UserError: no run has a metric of this name.
    """
    with_values = frame.filter(regex=r"^metrics\.").dropna(axis="columns", how="all")
    known = [str(column).removeprefix("metrics.") for column in with_values]
    if metrics:
        check_known("metric", metrics, known)
        shown = list(dict.fromkeys(metrics))
    else:
        known.sort(key=lambda name: (len(name), name))  # 10 comes after 9
        shown = [name for pattern in DEFAULT_METRICS[family] for name in known if re.fullmatch(pattern, name)]
    return [f"metrics.{name}" for name in shown]


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of booleans, a column for each metric: whether a run has the best value.

    The smallest value is the best. Counts, speeds and the load of the machine have no best value. A run that is
    not finished is never the best.
    """
    finished = table[table["status"] == "FINISHED"].reindex(table.index)  # NaN for other runs
    values = finished.filter(regex=r"^metrics\.")
    marks = values.eq(values.min())
    marks[values.filter(regex=r"(tokens|_per_s)$|^metrics\.system/").columns] = False
    return marks


def as_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV in full precision; the column `best_in` lists the metrics in which a run is best."""
    marks, table = best(table), table.copy()
    metrics = marks.columns.str.removeprefix("metrics.")
    names = [" ".join(metrics[row]) for row in marks.to_numpy(dtype=bool)]
    table.insert(len(_ABOUT), "best_in", names)
    return str(table.to_csv(index=False))


def as_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return the table as text; a `*` marks the best value of each metric.

    Args:
        table: as `compare_runs` returns it.
        width: characters in a line. Columns that do not fit go into further tables with the same runs. None: one
            table without line breaks.
    """
    cells = table[["name"]].rename(columns={"name": "run"})
    if cells["run"].duplicated().any():
        cells["run_id"] = table["run_id"].fillna("").str[:8]  # counted models have no run
        cells["date"] = table["start_time"].dt.strftime("%Y-%m-%d")
    if (table["status"] != "FINISHED").any():
        cells["status"] = table["status"].str.lower()
    num_about = len(cells.columns)
    for metric, marks in best(table).items():
        digits = table[metric].map("{:#.5g}".format).where(table[metric].notna(), "-")
        cells[metric] = digits + marks.map({True: "*", False: PADDING})
    return text_tables(with_params(cells, table), num_about, width)


def as_ranking(table: pd.DataFrame) -> str:
    """Return the table as text with rank, metrics, minutes and alias, without params.

    With the two metrics that are shown by default no line is longer than 80 characters.

    Args:
        table: as `compare_runs` returns it.
    """
    finished = table["status"] == "FINISHED"
    is_long = table["name"].str.len() > _LONGEST_NAME
    half = _LONGEST_NAME // 2
    cells = pd.DataFrame({".rank": finished.cumsum().astype(str).where(finished, "-")})
    cells["model"] = table["name"].where(~is_long, table["name"].str[:half] + "…" + table["name"].str[-half:])
    for metric, marks in best(table).items():
        name = str(metric).removeprefix("metrics.")
        # Four digits after the point, as bits per character and errors are between 0.01 and 10.
        digits = table[metric].astype("float64").map("{:.4f}".format).where(table[metric].notna(), "-")
        cells[f".{_SHORT.get(name, name)}"] = digits + marks.map({True: "*", False: PADDING})
    minutes = table["minutes"].astype("float64")
    cells[".minutes"] = minutes.map("{:.1f}".format).where(minutes.notna(), "-")
    cells["alias"] = table["alias"].fillna("").where(finished, table["status"].str.lower())
    if table["name"].duplicated().any():
        cells["run"] = table["run_id"].fillna("").str[:6]
    return text_tables(cells, len(cells.columns), None)


def with_params(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with a column for each param of the table; long values are cut."""
    cells = cells.copy()
    for param, values in table.filter(regex=r"^params\.").items():
        short = values.str.len() <= LONGEST_CELL
        cells[param] = values.where(short, values.str[: LONGEST_CELL // 2] + "…").fillna("-")
    return cells


def text_tables(cells: pd.DataFrame, num_about: int, width: int | None) -> str:
    """Return the cells as text. Columns that do not fit go into further tables, after the first `num_about`."""
    about, parts = list(cells.columns[:num_about]), [list[str]()]
    for column in cells.columns[num_about:]:
        wider = _text_table(cells[[*about, *parts[-1], column]], width)
        if parts[-1] and width is not None and max(map(len, wider.splitlines())) > width:
            parts.append([])
        parts[-1].append(column)
    return "\n\n".join(_text_table(cells[[*about, *part]], width) for part in parts)


def _text_table(cells: pd.DataFrame, width: int | None) -> str:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in cells:
        name = str(column).partition(".")[2]  # of a metric or a param
        # Broken after `_` and `/`; rich breaks lines at spaces only.
        words = re.sub("([_/])", r"\1 ", name or str(column))
        lines = [words] if width is None else textwrap.wrap(words, _LONGEST_HEADING)
        heading = Text("\n".join(line.replace(" ", "") for line in lines))
        table.add_column(heading, justify="right" if name else "left", no_wrap=True, vertical="bottom")
    for row in cells.itertuples(index=False):
        table.add_row(*map(Text, row))
    # Wide enough for everything: a narrower console would cut cells off.
    console = Console(file=io.StringIO(), color_system=None, width=_WIDEST)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.replace(PADDING, " ").rstrip() for line in captured.get().splitlines())


def _counted(store: Store) -> Iterator[dict[str, object]]:
    """Yield the models in the report on language models of the state that was published last."""
    wanted = "tags.`timemachine.kind` = 'pipeline' and attributes.status = 'FINISHED'"
    newest = ["attributes.start_time DESC"]
    states = store.client.search_runs([store.experiment_id], wanted, max_results=1, order_by=newest)
    folder = local_folder(states[0].info.artifact_uri) if states else None
    if not states or (folder is not None and not (folder / _REPORT).is_file()):
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = read_mapping(Path(store.client.download_artifacts(states[0].info.run_id, _REPORT, temporary)))
    for name, scores in report["models"].items():
        yield {
            "name": name,
            "status": "FINISHED",
            "start_time": pd.Timestamp(states[0].info.start_time, unit="ms", tz="UTC"),
            **{
                f"metrics.{part}_{key}": scores[part].get(key)
                for part in ("val", "test")
                for key in ("bits_per_character", "perplexity", "nats")
            },
        }


def _row(run: Run, aliases: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": run.info.run_name,
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        "minutes": minutes_of(run),
        "alias": aliases.get(run.info.run_id),
        **{f"metrics.{key}": value for key, value in run.data.metrics.items()},
        # The name is a param of each model too, but it has its own column.
        **{f"params.{key}": value for key, value in sorted(run.data.params.items()) if key != "name"},
    }


def check_known(what: str, wanted: Sequence[str], known: Sequence[str] | pd.Series) -> None:
    """Raise a `UserError` that lists the known names if a wanted name is not among them."""
    for name in wanted:
        if name not in set(known):
            raise UserError(f"no {what} {name!r}; known: {', '.join(sorted(set(known)))}")

"""A table of mean and standard deviation over runs in MLflow that differ only in their seed."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from timemachine.base.errors import UserError
from timemachine.tracking.compare import (
    LONGEST_CELL,
    PADDING,
    check_known,
    choose_metrics,
    read_runs,
    text_tables,
    with_params,
)

# `epoch`, whose weights were kept, is a result of the training. The name is not among the params of the table.
_NOT_KNOBS = {"params.seed", "params.epoch"}


def compare_seeds(
    root: Path, experiment: str, *, family: str = "rnn", names: Sequence[str] = (), metrics: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a table of means and standard deviations over seeds, sorted by the mean of the first metric.

    A row is a group of finished runs whose params differ only in name and seed. The hash of the data is one of the
    params. The row has the first name of the group in alphabetical order. Of runs with the same params and seed
    only the newest counts. A run without the first metric does not count.

    The columns are name, num_seeds, seeds, `metrics.NAME.mean` and `metrics.NAME.std` (ddof 1) of each metric to
    show, and `params.NAME` of each param in which groups of the same name differ. The standard deviation of one
    seed is NaN. Both values are NaN if a run of the group does not have the metric.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment.
        family: a family of models with seeds, `rnn` or `ar`.
        names: show the groups that contain a run of one of these names; empty: all.
        metrics: the metrics to show; empty: those of `DEFAULT_METRICS` that the runs have.

    Raises:
        UserError: as `compare_runs`, no run is finished, or no group has two seeds.
    """
    frame = read_runs(root, experiment, family)
    frame = frame[frame["status"] == "FINISHED"]
    if frame.empty:
        raise UserError(f"no {family} model is finished")
    if "params.seed" not in frame:
        raise UserError(f"{family} models have no seed")
    knobs = [name for name in map(str, frame.filter(regex=r"^params\.")) if name not in _NOT_KNOBS]
    frame = frame.assign(group=frame.groupby(knobs, dropna=False).ngroup())
    if names:
        check_known("finished model", names, frame["name"])
        frame = frame[frame["group"].isin(frame.loc[frame["name"].isin(names), "group"])]
    shown = choose_metrics(frame, family, metrics)
    frame = frame.dropna(subset=[*shown[:1], "params.seed"])
    first_name = frame.groupby("group")["name"].transform("min")
    frame = frame.assign(name=first_name, seed=frame["params.seed"].astype("int64"))
    frame = frame.sort_values(["seed", "start_time", "run_id"]).drop_duplicates(["group", "seed"], keep="last")
    groups = frame.groupby("group")
    num_seeds = groups.size()
    if not (num_seeds > 1).any():
        raise UserError(
            "no two finished runs differ only in their seed; "
            f"train one more, for example `dvc exp run -S train_{family}.NAME.seed=1`"
        )
    table = groups[["name", *knobs]].first()
    table.insert(1, "num_seeds", num_seeds)
    table.insert(2, "seeds", groups["params.seed"].agg(" ".join))
    for metric in shown:
        complete = groups[metric].count() == num_seeds
        table[f"{metric}.mean"] = groups[metric].mean().where(complete)
        table[f"{metric}.std"] = groups[metric].std(ddof=1).where(complete)
    values = [str(name) for name in table.filter(regex=r"^metrics\.")]
    differ = table.groupby("name")[knobs].nunique(dropna=False).max() > 1
    table = table.sort_values([*values[:1], "name"], ignore_index=True)
    return table[["name", "num_seeds", "seeds", *values, *differ.index[differ]]]


def as_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return the table as text, with mean ± standard deviation.

    Args:
        table: as `compare_seeds` returns it.
        width: characters in a line, as in `compare.as_text`.
    """
    cells = table[["name"]].rename(columns={"name": "model"})
    many = table["seeds"].str.len() > LONGEST_CELL
    cells["seeds"] = table["seeds"].mask(many, table["num_seeds"].astype(str) + " seeds")
    for column in table.filter(regex=r"^metrics\..*\.mean$"):
        metric = str(column).removesuffix(".mean")
        pairs = [_mean_and_std(*pair) for pair in zip(table[column], table[f"{metric}.std"], strict=True)]
        longest = max(len(std) for _, std in pairs)
        cells[metric] = [mean + std.ljust(longest, PADDING) for mean, std in pairs]
    return text_tables(with_params(cells, table), 2, width)


def _mean_and_std(mean: float, std: float) -> tuple[str, str]:
    """Return five digits of the mean, and ` ± ` with the standard deviation to as many decimals, or nothing."""
    if math.isnan(mean):
        return "-", ""
    digits = f"{mean:#.5g}"
    decimals = len(digits.partition(".")[2])
    spread = f"{std:.2g}" if "e" in digits else f"{std:.{decimals}f}"
    return digits.rstrip("."), "" if math.isnan(std) else f" ± {spread}"

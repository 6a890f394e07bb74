"""Saved views of MLflow's table of runs: filters, columns and sort order that a link opens.

MLflow keeps a view as a tag of the experiment. The format is internal to MLflow: `tests/tracking/test_views.py`
opens the views in a real server and browser.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from timemachine.tracking.address import hide_secrets, sqlite_file, tracking_uri
from timemachine.tracking.store import Store, ensure_experiment, open_store

HOST, PORT = "127.0.0.1", 5000
# MLflow refuses a view without times.
_CREATED_MS = 1_795_651_200_000
# Columns that MLflow shows in every table.
_ALWAYS = ("runDateAndNestInfo", "duration")
_TAG = "mlflow.sharedViewState."


class View(NamedTuple):
    """A saved view.

    Attributes:
        name: name in MLflow's list of views.
        filter: condition on the runs, in MLflow's search language.
        order: column by which the runs are sorted.
        ascending: whether the smallest value comes first.
        columns: columns beside the name of the run.
        retraining: whether it shows the experiment with the verdicts of retraining.
    """

    name: str
    filter: str
    order: str
    ascending: bool
    columns: tuple[str, ...]
    retraining: bool = False


_MODELS = "tags.`timemachine.kind` = 'model' and tags.`timemachine.family`"
VIEWS = {
    "language-models": View(
        "Language models, best first",
        f"{_MODELS} != 'ar' and attributes.status = 'FINISHED'",
        "metrics.`val_bits_per_character`",
        True,
        (
            "metrics.`val_bits_per_character`",
            "metrics.`test_bits_per_character`",
            "metrics.`minutes`",
            "params.`cell`",
            "params.`num_hiddens`",
            "params.`seed`",
        ),
    ),
    "forecasts": View(
        "Forecasting models, best first",
        f"{_MODELS} = 'ar' and attributes.status = 'FINISHED'",
        "metrics.`one_step_rmse`",
        True,
        (
            "metrics.`one_step_rmse`",
            "metrics.`k_step_rmse_4`",
            "metrics.`k_step_rmse_16`",
            "metrics.`k_step_rmse_64`",
            "metrics.`multistep_rmse`",
            "params.`model`",
            "params.`seed`",
        ),
    ),
    "retraining": View(
        "Rounds of retraining, newest first",
        "tags.`timemachine.kind` = 'verdict'",
        "attributes.start_time",
        False,
        (
            "metrics.`challenger_val_bits_per_character`",
            "metrics.`champion_val_bits_per_character`",
            "metrics.`baseline_val_bits_per_character`",
            "tags.`timemachine.verdict`",
            "tags.`timemachine.num_texts`",
        ),
        retraining=True,
    ),
}


def lay_down(store: Store, root: Path, experiment: str) -> dict[str, str]:
    """Save the views in MLflow and return the ID of the experiment of each; existing views are not written again.

    Args:
        store: an open store.
        root: the repository root.
        experiment: name of the MLflow experiment of the models.
    """
    experiments = {}
    for key, view in VIEWS.items():
        name = f"{experiment}-retraining" if view.retraining else experiment
        experiments[key] = ensure_experiment(store.client, name, root)
        value = _tag_value(view)
        if store.client.get_experiment(experiments[key]).tags.get(_TAG + key) != value:
            store.client.set_experiment_tag(experiments[key], _TAG + key, value)
    return experiments


def view_links(root: Path, experiment: str, port: int) -> list[tuple[str, str]]:
    """Return the name and the address of each view, on the store's server or on one that `make ui` starts.

    Without a store there are none.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment of the models.
        port: port of 127.0.0.1, for a store that is no server itself.

    Raises:
        UserError: the store cannot be reached.
    """
    uri = tracking_uri(root)
    if (database := sqlite_file(uri)) and not database.exists():
        return []
    url = hide_secrets(uri) if uri.startswith("http") else f"http://{HOST}:{port}"
    with open_store(root, experiment, alone=False, create=False) as store:
        experiments = lay_down(store, root, experiment)
    return [(view.name, view_address(url, experiments[key], key)) for key, view in VIEWS.items()]


def view_address(url: str, experiment_id: str, view: str) -> str:
    """Return the address of a saved view.

    Args:
        url: address of the MLflow server, for example `http://127.0.0.1:5000`.
        experiment_id: ID of the experiment that has the view.
        view: a key of `VIEWS`.
    """
    page = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}"
    return f"{url.rstrip('/')}/{page}"


def _tag_value(view: View) -> str:
    columns = ["attributes.`Run Name`", *view.columns, *_ALWAYS]
    state: Mapping[str, Any] = {
        "searchFilter": view.filter,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "selectedColumns": view.columns,
        "columnOrder": columns,
        # Wide enough for the heading: pixels of a letter, and of the space around it.
        "columnWidths": {key: 7 * len(key.partition(".")[2]) + 20 for key in view.columns},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    times = {"createdAt": _CREATED_MS, "updatedAt": _CREATED_MS}
    return json.dumps({"name": view.name, **times, "state": f"deflate;{packed}"})

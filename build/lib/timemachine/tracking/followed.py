"""What every training stage does around its training: resume it, show its progress, log it to MLflow."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from timemachine.base.compute import environment
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import STATES
from timemachine.pipeline.progress import named, show_progress
from timemachine.tracking.live import Live
from timemachine.training.loop import Epoch
from timemachine.training.resume import Resumable, training_hash


@contextmanager
def follow(
    params: Params,
    config: Mapping[str, Any],
    device: torch.device,
    history_rows: Callable[[list[Epoch]], list[dict[str, float]]],
    shown: Sequence[str],
    rate: str | None = None,
) -> Iterator[tuple[Callable[[Epoch], None], Resumable]]:
    """Yield a callback for the epochs of a training, and its states.

    The block trains the model and writes its checkpoint.

    Args:
        params: all parameters.
        config: the content of `config.json` as far as it is known before the training.
        device: device of the training.
        history_rows: returns epochs as rows of `history.csv`, which are logged.
        shown: names of the values to show beside the progress.
        rate: name under which labels per second are logged too; None: they are not.
    """
    root, name, num_epochs = stage.repository_root(), config["name"], config["num_epochs"]
    key = training_hash(config, params.compute.model_dump(), environment(device))
    with (
        Resumable(root / STATES / key, name, num_epochs, os.environ.get("DVC_STAGE")) as resumable,
        Live(root, params.publish.experiment, config, device) as live,
        show_progress(name, steady=True) as show,
    ):

        def tell(epoch: Epoch) -> None:
            (row,) = history_rows([epoch])
            if rate is not None:
                row[rate] = epoch.labels_per_s
            if epoch.epoch > resumable.num_restored:
                show(epoch.epoch, num_epochs, f"epochs, {named({key: row[key] for key in shown})}")
            live.update(row)

        yield tell, resumable

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
from timemachine.pipeline.torchrun import naming_lost_processes
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
    is_first: bool = True,
) -> Iterator[tuple[Callable[[Epoch], None] | None, Resumable | None]]:
    """Yield a callback for the epochs of a training, and its states.

    The block trains the model and writes its checkpoint. Of several processes only the first has a callback and
    states.

    Args:
        params: all parameters.
        config: the content of `config.json` as far as it is known before the training.
        device: device of the training.
        history_rows: returns epochs as rows of `history.csv`, which are logged.
        shown: names of the values to show beside the progress.
        rate: name under which labels per second are logged too; None: they are not.
        is_first: whether this process is alone, or the first of those that train the model.
    """
    if not is_first:
        with naming_lost_processes():
            yield None, None
        return
    root, name, num_epochs = stage.repository_root(), config["name"], config["num_epochs"]
    # A training may go on with another number of processes.
    fixed = {key: value for key, value in config.items() if key != "num_processes"}
    key = training_hash(fixed, params.compute.model_dump(), environment(device))
    with (
        Resumable(root / STATES / key, name, num_epochs, os.environ.get("DVC_STAGE")) as resumable,
        Live(root, params.publish.experiment, config, device) as live,
        show_progress(name, steady=True) as show,
        naming_lost_processes(),
    ):

        def tell(epoch: Epoch) -> None:
            (row,) = history_rows([epoch])
            if rate is not None:
                row[rate] = epoch.labels_per_s
            if epoch.epoch > resumable.num_restored:
                show(epoch.epoch, num_epochs, f"epochs, {named({key: row[key] for key in shown})}")
            live.update(row)

        yield tell, resumable

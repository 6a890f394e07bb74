"""Checkpoints: a folder with weights, config, history and the kind of machine they come from; never pickle."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save
from torch import nn

from timemachine.base.config import Section, validate
from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays, read_json, write_bytes, write_json, write_table

C = TypeVar("C", bound=Section)


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    config: Section,
    history: Sequence[Mapping[str, float]],
    environment: Mapping[str, str],
) -> None:
    """Write a trained model, everything needed to rebuild it, and how and where it was trained.

    The files are `model.safetensors`, `config.json`, `history.csv` and `environment.json`.
    """
    write_json(folder / "environment.json", environment)
    write_json(folder / "config.json", config.model_dump())
    write_table(folder / "history.csv", history)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(state))


def load_checkpoint(
    folder: Path, schema: type[C], build: Callable[[C], nn.Module], vocabulary_sha256: str | None = None
) -> tuple[nn.Module, C]:
    """Return a model on the CPU, ready to be evaluated, and its config.

    Args:
        folder: what `save_checkpoint` wrote.
        schema: what `config.json` must look like.
        build: makes the module from the config.
        vocabulary_sha256: hash of the vocabulary that a language model is about to read with.

    Raises:
        UserError: a file of the checkpoint is absent, damaged or does not fit, or the model was trained
            with another vocabulary.
    """
    path = folder / "config.json"
    config = validate(schema, read_json(path), path)
    if vocabulary_sha256 is not None and getattr(config, "vocabulary_sha256", None) != vocabulary_sha256:
        raise UserError(
            f"{path}: the model was trained with another vocabulary; that of the corpus has SHA-256 "
            f"{vocabulary_sha256}; train it again with `dvc repro`"
        )
    model = build(config)
    path = folder / "model.safetensors"
    state = {name: torch.tensor(array) for name, array in read_arrays(path).items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: does not fit {folder / 'config.json'}: {error}") from None
    if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise UserError(f"{path}: {broken[0]} has values that are not finite; train it again with `dvc repro`")
    return model.eval(), config

"""Checkpoints: a folder with `model.safetensors`, `config.json` and `history.csv`; never pickle."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from timemachine.files import read_json, replacing, write_json
from timemachine.training.history import write_history


def save_checkpoint(
    folder: Path, model: nn.Module, config: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> None:
    """Write a trained model, everything needed to rebuild it, and how it came about."""
    write_json(folder / "config.json", config)
    write_history(folder / "history.csv", history)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(state, temporary)


def load_checkpoint(
    folder: Path, build: Callable[[dict[str, Any]], nn.Module], vocabulary_sha256: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a model on the CPU, ready to be evaluated, and its config.

    Args:
        folder: what `save_checkpoint` wrote.
        build: makes the module from the config.
        vocabulary_sha256: hash of the vocabulary that a language model is about to read with.

    Raises:
        ValueError: a file of the checkpoint is absent, damaged or does not fit, or the model was trained
            with another vocabulary.
    """
    path = folder / "config.json"
    config = read_json(path)
    try:
        if vocabulary_sha256 is not None and config["vocabulary_sha256"] != vocabulary_sha256:
            raise ValueError(
                f"{path}: trained with another vocabulary ({config['vocabulary_sha256']}) than corpus "
                f"{config['corpus']!r} has ({vocabulary_sha256}); `dvc repro` trains it again"
            )
        model = build(config)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: incomplete ({error}); `dvc repro` makes it again") from None
    path = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; `dvc repro` makes it") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: cut short or damaged ({error}); `dvc repro` makes it again") from None
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {folder / 'config.json'}: {error}") from None
    return model.eval(), config

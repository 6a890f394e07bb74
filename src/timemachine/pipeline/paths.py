"""What names a language model, and where its checkpoint lies; apart from what reads it: torch takes seconds."""

from pathlib import Path

from timemachine.base.errors import UserError

# Where the states of trainings lie, a folder each.
STATES = Path(".timemachine/resume")

# Names of the registry's versions, which win over recipes of the same name.
ALIASES = ("champion", "challenger", "previous")

# What a checkpoint folder holds, of any model and of a language model.
CHECKPOINT = ("model.safetensors", "config.json", "history.csv", "environment.json")
LANGUAGE_MODEL = (*CHECKPOINT, "vocabulary.json")

# Where a checkpoint lies in the MLflow model folder around it.
PACKAGED = "data/checkpoint"


def trained_recipes(models: Path) -> list[str]:
    """Return the names of the recipes that have a checkpoint in `data/models/rnn`."""
    return sorted(path.parent.name for path in models.glob("*/config.json"))


def find_checkpoint(models: Path, name: str) -> Path:
    """Return the checkpoint folder that a name means.

    Args:
        models: the folder with a folder for each recipe, `data/models/rnn`.
        name: of a recipe, or the path of a checkpoint folder, or of an MLflow model folder around one.

    Raises:
        UserError: there is none; the message names the recipes there are.
    """
    recipes = trained_recipes(models)
    if name in recipes:
        return models / name
    for folder in (Path(name), Path(name) / PACKAGED):
        if (folder / "config.json").is_file():
            return folder
    known = f"{models} has {', '.join(recipes)}" if recipes else f"{models} has none yet; `dvc repro` makes them"
    raise UserError(f"{name!r} is neither a trained recipe nor a checkpoint folder; {known}")

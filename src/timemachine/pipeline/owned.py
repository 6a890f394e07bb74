"""Remove outputs whose entry in params.yaml was removed.

DVC leaves the outputs of a stage that no longer exists where they are. Stages that depend on their folder, such as
`data/models/rnn`, would then hash them.
"""

import re
from collections.abc import Collection
from pathlib import Path

from timemachine.base.config import NAME_PATTERN
from timemachine.base.files import remove_leftovers
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import CHECKPOINT, LANGUAGE_MODEL


def remove_unowned(params: Params, data: Path) -> list[Path]:
    """Remove the outputs of entries that `params` do not have, and return what was removed.

    Only files that stages write are removed, and the folder of a checkpoint or text if it is empty then. Other
    files stay, and so does everything behind a link to another folder.

    Args:
        params: the params.
        data: the folder `data` of the repository.
    """
    recurrent, autoregressive = params.train_rnn, params.train_ar
    owned: list[tuple[str, Collection[str]]] = [
        *((f"models/ar/*/{file}", autoregressive) for file in CHECKPOINT),
        *((f"models/rnn/*/{file}", recurrent) for file in LANGUAGE_MODEL),
        (
            "scores/rnn/*.safetensors",
            [*recurrent, *params.dynamic_names],
        ),
        ("scores/dynamic/*.safetensors", ()),  # an earlier version wrote there
        ("generated/*.txt", recurrent),
        ("results/perplexity/*.json", recurrent),
        ("reports/figures/training/*.png", recurrent),
        ("reports/figures/forecast/k_step_*.png", autoregressive),
        ("raw/*.txt", params.texts),  # an earlier version wrote there; `download` takes it as a source
        ("raw/*/*", params.texts),
    ]
    root = data.absolute().parent.resolve() / data.name
    removed = []
    for pattern, names in owned:
        shape = re.compile(re.escape(pattern).replace(r"\*", f"({NAME_PATTERN})", 1).replace(r"\*", "[^/]+"))
        for path in sorted(data.glob(pattern)):
            relative = path.relative_to(data)
            found = shape.fullmatch(relative.as_posix())
            linked = path.parent.resolve() != root / relative.parent
            if found and found[1] not in names and not linked and (path.is_file() or path.is_symlink()):
                path.unlink()
                removed.append(path)
    entries = {path.parent for path in removed if path.parent.parent.name in ("ar", "rnn", "raw")}
    for folder in sorted(entries):
        remove_leftovers(folder)
        if not any(folder.iterdir()):
            folder.rmdir()
            removed.append(folder)
    return removed

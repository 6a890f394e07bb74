"""The files of the pipeline that the report shows, and those of them that are absent."""

from pathlib import Path
from typing import Any

from timemachine.base.files import read_mapping


class Sources:
    """Files below the folder `data`. An absent file is noted, and the report goes on without it.

    Attributes:
        data: the folder `data`.
        missing: names of the files that were asked for and do not exist, in this order.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.missing: list[str] = []

    def find(self, name: str) -> Path | None:
        """Return the path of a file or folder below `data`; None if it does not exist."""
        path = self.data / name
        if path.exists():
            return path
        if (shown := f"data/{name}") not in self.missing:
            self.missing.append(shown)
        return None

    def report(self, name: str) -> dict[str, Any]:
        """Return the content of `data/reports/<name>.json`; an empty one if it does not exist.

        Raises:
            UserError: the file is damaged.
        """
        path = self.find(f"reports/{name}.json")
        return read_mapping(path) if path else {}


def look_up(content: Any, *keys: str) -> Any:
    """Return the value under nested keys of a report; None if a key is absent."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content

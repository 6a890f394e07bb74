"""The command `timemachine report`."""

from collections.abc import Callable
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.base.files import write_text
from timemachine.pipeline.params import load
from timemachine.report.facts import gather
from timemachine.report.page import make_page
from timemachine.retraining.history import read_rounds
from timemachine.tracking.views import PORT, view_links

DEFAULT_OUTPUT = "report.html"


def write_report(root: Path, output: Path | None, say: Callable[[str], None]) -> None:
    """Write the report with everything that is known, and say where it is.

    A store that cannot be read is named in the report, which is written without rounds.

    Args:
        root: the repository root.
        output: the file to write; by default `report.html` in the root.
        say: called with each line for the user.

    Raises:
        UserError: params.yaml is not valid, or a file of the pipeline is damaged.
    """
    params = load(root / "params.yaml")
    rounds, links, problem = [], [], ""
    try:
        rounds = read_rounds(root, params.publish.experiment)
        links = view_links(root, params.publish.experiment, PORT)
    except UserError as error:
        problem = f"MLflow could not be read: {error}"
        say(problem)
    facts = gather(root, rounds, problem, links)
    page, missing = make_page(params, root / "data", facts._asdict())
    output = output or root / DEFAULT_OUTPUT
    write_text(output, page)
    for name in missing:
        say(f"{name}: no such file; the report does not show it")
    say(f"{output} ({len(page.encode()) / 1e6:.1f} MB)")

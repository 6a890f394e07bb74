"""Write the report, one HTML file, as far as it follows from params and outputs alone.

Reads params.yaml, and in data/ the reports, figures, histories, generated texts, scores of held-out
tokens and the text of `compare_models.corpus`; writes data/reports/report.html.
Run: python stages/report_page.py
"""

from pathlib import Path

from timemachine.base.files import write_text
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.report.page import make_page


def run(params: Params, data: Path, out: Path) -> None:
    """Write the page."""
    page, _ = make_page(params, data)
    write_text(out, page)


if __name__ == "__main__":
    stage.main(run, data="data", out="data/reports/report.html")

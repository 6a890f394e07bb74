"""Workflows, hooks, templates, citation and changelog, against their schemas, the Makefile and pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from graph import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").iterdir())
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "docs/adding.md", ROOT / "docs/troubleshooting.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def jobs() -> list[dict[str, Any]]:
    return [job for path in WORKFLOWS for job in load(path)["jobs"].values()]


def steps() -> list[dict[str, Any]]:
    return [step for job in jobs() for step in job["steps"]]


def complaints(schema: str, *files: Path) -> str:
    """Return what check-jsonschema, which ships the schemas of schemastore.org, finds wrong."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-issue-config", [path for path in TEMPLATES if path.stem == "config"]),
        ("vendor.github-issue-forms", [path for path in TEMPLATES if path.stem != "config"]),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_of_the_platform_follow_their_schemas(schema: str, files: list[Path]) -> None:
    assert files
    assert complaints(schema, *files) == ""


def test_the_schema_of_workflows_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert "run-on" in complaints("vendor.github-workflows", wrong)


def test_workflows_and_hooks_call_tasks_of_the_makefile() -> None:
    hooks = load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    commands = [step["run"] for step in steps() if "run" in step] + [hook["entry"] for hook in hooks]
    called = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(commands)))
    assert {"check", "setup", "test", "test-fast"} == called
    assert called <= TARGETS


def test_continuous_integration_runs_what_every_change_must_pass() -> None:
    required = re.findall(r"^make [a-z-]+$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    ci = load(ROOT / ".github/workflows/ci.yml")["jobs"].values()
    assert [step["run"] for job in ci for step in job["steps"] if "run" in step] == required


def test_actions_are_those_of_the_platform_at_a_fixed_major_version() -> None:
    used = {step["uses"] for step in steps() if "uses" in step}
    assert [name for name in used if not re.fullmatch(r"actions/[a-z/-]+@v[1-9]\d*", name)] == []
    names = [name.split("/")[1].split("@")[0] + name.split("@")[1] for name in used]
    assert len({re.sub(r"v\d+$", "", name) for name in names}) == len(set(names)), "one version of each action"


def test_workflows_may_only_read_and_use_the_least_python_that_is_supported() -> None:
    assert [load(path)["permissions"] for path in WORKFLOWS] == [{"contents": "read"}] * len(WORKFLOWS)
    versions = {step["with"]["python-version"] for step in steps() if "setup-python" in step.get("uses", "")}
    assert {f">={version}" for version in versions} == {PROJECT["requires-python"]}


def test_citation_and_changelog_have_the_version_of_the_package() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d", headings[1])
    kinds = set(re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_files_and_tasks_that_a_guide_names_exist(guide: Path) -> None:
    text = guide.read_text()
    named = set(
        re.findall(r"`((?:src|stages|tests|docs|deploy|benchmarks)/[\w./-]*|[\w-]+\.(?:md|yaml|toml))`", text)
    )
    named |= {
        str((guide.parent / link).resolve().relative_to(ROOT))
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    tasks = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert named | tasks
    assert tasks <= TARGETS

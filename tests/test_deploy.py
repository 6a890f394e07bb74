"""What lies in `deploy/`, and the workflow of retraining, against the commands and exit codes that they expect."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from graph import ROOT
from sqlalchemy.engine import make_url

from timemachine import cli

pytestmark = pytest.mark.slow

DEPLOY = ROOT / "deploy"
WORKFLOW = ROOT / ".github/workflows/retrain.yml"
UNITS = sorted(path for path in DEPLOY.iterdir() if path.suffix in (".service", ".timer"))
PROMOTED, FAILED, NOTHING_NEW, REJECTED, BUSY = 0, 1, 10, 11, 12


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit; of a key that is given twice, as systemd allows, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(DEPLOY / name)
    return parser


def workflow() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    return {str(key): value for key, value in yaml.safe_load(WORKFLOW.read_text()).items()}


def steps() -> list[dict[str, Any]]:
    return list(workflow()["jobs"]["retrain"]["steps"])


def crontab_line(command: str = "retrain") -> str:
    lines = [line for line in (DEPLOY / "crontab").read_text().splitlines() if re.match(r"[\d*]", line)]
    (line,) = (line for line in lines if f"timemachine {command} " in line)
    return line


def variables(name: str) -> set[str]:
    """Return the names that an example of an environment file sets, or would if uncommented."""
    return set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", (DEPLOY / name).read_text(), re.MULTILINE))


def stub(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_commands_and_targets_named_there_exist_with_their_options() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    files = [WORKFLOW, *(path for path in DEPLOY.iterdir() if path.suffix != ".example")]
    text = "\n".join(path.read_text() for path in files)
    called = re.findall(r"(?:bin/|^\s+|`)timemachine ([a-z]+)((?: --?[a-z-]+)*)", text, re.MULTILINE)
    assert {"retrain", "serve", "publish", "rollback", "history", "status", "clean"} == {
        name for name, _ in called
    }
    for name, options in called:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(options.split()) <= known, name
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake (?:-C \S+ )?([a-z]+)$", text, re.MULTILINE)
    assert "setup" in named
    assert set(named) <= set(targets)


def test_exit_codes_mean_there_what_they_mean_here() -> None:
    from timemachine.retraining import busy
    from timemachine.retraining import round as one_round

    names = ("PROMOTED", "FAILED", "NOTHING_NEW", "REJECTED")
    assert [getattr(one_round, name) for name in names] == [PROMOTED, FAILED, NOTHING_NEW, REJECTED]
    assert busy.BUSY == BUSY
    rows = re.findall(r"^\| (\d+) \|", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    assert list(map(int, rows)) == [PROMOTED, NOTHING_NEW, REJECTED, BUSY, FAILED]


# MLflow warns of its own type hints while it is imported.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_server_has_the_flags_and_variables_that_it_is_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.environment_variables as known
    from mlflow.cli import server

    words = shlex.split(unit("mlflow.service")["Service"]["ExecStart"])
    context = server.make_context("server", [], resilient_parsing=True)
    server.parse_args(context, words[2:])
    assert context.params["host"] == "127.0.0.1"
    assert context.params["app_name"] == "basic-auth"
    read = {parameter.envvar for parameter in server.params} | set(dir(known))
    assert variables("mlflow.env.example") <= read
    assert variables("timemachine.env.example") - {"TIMEMACHINE_NOTIFY"} <= read
    assert known.MLFLOW_SERVER_ENABLE_JOB_EXECUTION.name in (DEPLOY / "mlflow.service").read_text()


def test_the_server_is_installed_in_the_version_that_is_tested() -> None:
    (version,) = re.findall(r"^mlflow==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert f"'mlflow[auth]=={version}'" in (DEPLOY / "README.md").read_text()


def test_the_example_of_an_address_names_the_driver_that_is_installed() -> None:
    (package,) = re.findall(r"and (\S+) for PostgreSQL", (DEPLOY / "README.md").read_text())
    (address,) = re.findall(r"\S+?=(postgresql\S+)", (DEPLOY / "mlflow.env.example").read_text())
    driver = make_url(address).drivername.removeprefix("postgresql+")
    assert f"{driver}-binary" == package


def test_no_example_has_a_password() -> None:
    for path in DEPLOY.glob("*.example"):
        for line in path.read_text().splitlines():
            assert not re.match(r"[^#;]*(?:PASSWORD|SECRET_KEY|password)\s*=\s*\S", line), path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        # It looks for the commands, too.
        (tmp_path / path.name).write_text(re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", path.read_text()))
    copies = [str(tmp_path / path.name) for path in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *copies], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [path.name for path in UNITS if path.suffix == ".service"])
def test_every_service_has_a_user_of_its_own_and_a_system_that_it_cannot_write(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] in ("mlflow", "timemachine")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    where = service.get("ReadWritePaths", f"/var/lib/{service.get('StateDirectory')}").split()[0]
    assert service["WorkingDirectory"].startswith(where)


def test_a_round_by_systemd_is_started_once_a_night_and_stopped_if_it_hangs() -> None:
    service, timer = unit("timemachine-retrain.service")["Service"], unit("timemachine-retrain.timer")["Timer"]
    assert service["Type"] == "oneshot"
    assert list(map(int, service["SuccessExitStatus"].split())) == [NOTHING_NEW, REJECTED, BUSY]
    assert service["TimeoutStartSec"] == "4h"
    assert timer["RandomizedDelaySec"]
    assert timer["Persistent"] == "true"


@pytest.mark.parametrize(
    ("ended", "restarts"),
    [
        (("exited", PROMOTED), True),
        (("exited", NOTHING_NEW), False),
        (("exited", REJECTED), False),
        (("exited", BUSY), False),
        (("exited", FAILED), False),
        (("killed", "TERM"), False),
    ],
)
def test_the_model_server_is_restarted_after_a_promotion_only(
    ended: tuple[str, object], restarts: bool, tmp_path: Path
) -> None:
    called = tmp_path / "called"
    stub(tmp_path / "systemctl", f'echo "$@" > {called}')
    line = unit("timemachine-retrain.service")["Service"]["ExecStopPost"].lstrip("-+")
    command = shlex.split(line.replace("$$", "$"))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXIT_CODE": ended[0], "EXIT_STATUS": str(ended[1])}
    subprocess.run(command, env=environment, check=True)
    assert called.exists() == restarts
    if restarts:
        _, name = called.read_text().split()
        assert name in {path.name for path in UNITS}


@pytest.fixture
def cron(tmp_path: Path) -> tuple[Path, str]:
    """A folder with a command that ends as `code` says, and the crontab's line for it."""
    stub(tmp_path / "repository/.venv/bin/timemachine", f'echo "{{}} $SECRET"; exit $(cat {tmp_path}/code)')
    (tmp_path / "env").write_text("SECRET='a b'\n")
    line = crontab_line().split(maxsplit=5)[5]
    line = line.replace("/etc/timemachine/timemachine.env", str(tmp_path / "env"))
    return tmp_path, line.replace("/var/lib/timemachine", str(tmp_path))


@pytest.mark.parametrize("code", [PROMOTED, NOTHING_NEW, REJECTED, BUSY, FAILED])
def test_cron_mails_only_what_failed(cron: tuple[Path, str], code: int) -> None:
    folder, line = cron
    (folder / "code").write_text(str(code))
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert (folder / "retrain.log").read_text() == "{} a b\n"
    assert done.stdout == ("timemachine retrain: exit code 1\n{} a b\n" if code == FAILED else "")


@pytest.mark.parametrize("code", [0, BUSY, FAILED])
def test_cron_mails_only_if_clean_failed(tmp_path: Path, code: int) -> None:
    stub(tmp_path / "repository/.venv/bin/timemachine", f"echo told; exit {code}")
    (tmp_path / "env").write_text("")
    line = crontab_line("clean").split(maxsplit=5)[5]
    line = line.replace("/etc/timemachine/timemachine.env", str(tmp_path / "env"))
    line = line.replace("/var/lib/timemachine", str(tmp_path))
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == ("timemachine clean: exit code 1\ntold\n" if code == FAILED else "")


def test_clean_by_systemd_waits_for_a_round_and_is_no_failure_if_it_is_busy() -> None:
    service = unit("timemachine-clean.service")["Service"]
    assert service["ExecStart"].endswith("timemachine clean --keep 7 --wait 240")
    assert service["SuccessExitStatus"] == str(BUSY)
    assert service["Type"] == "oneshot"


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here")
def test_a_second_round_by_cron_does_not_begin(cron: tuple[Path, str]) -> None:
    folder, line = cron
    (folder / "code").write_text("1")
    command = ["flock", str(folder / "cron.lock"), "/bin/sh", "-c", line]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert (folder / "retrain.log").read_text() == ""
    assert "retrain.lock" not in line


def test_schedules_avoid_the_minutes_that_everybody_takes() -> None:
    (schedule,) = workflow()["True"]["schedule"]
    for minute, *_ in (crontab_line().split(), schedule["cron"].split()):
        assert int(minute) % 5
        assert int(minute) % 2
    assert unit("timemachine-retrain.timer")["Timer"]["OnCalendar"].split(":")[1] not in ("00", "30")


def test_the_workflow_is_stopped_if_it_hangs_and_never_runs_twice_at_once() -> None:
    content = workflow()
    assert content["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    assert content["permissions"] == {"contents": "read"}
    assert "workflow_dispatch" in content["True"]
    assert "vars.RETRAIN_NIGHTLY == 'true'" in content["jobs"]["retrain"]["if"]
    (round_,) = (step for step in steps() if step.get("id") == "round")
    assert round_["timeout-minutes"] < content["jobs"]["retrain"]["timeout-minutes"] <= 360


def test_the_workflow_keeps_dvcs_cache_from_night_to_night() -> None:
    restore, save = (step for step in steps() if "cache/" in step.get("uses", ""))
    assert restore["with"]["path"] == save["with"]["path"] == ".dvc/cache"
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert steps().index(restore) < steps().index(save)


def test_what_the_workflow_uploads_is_what_a_round_writes() -> None:
    from timemachine.retraining.round import VERDICT

    (upload,) = (step for step in steps() if "upload-artifact" in step.get("uses", ""))
    paths = upload["with"]["path"].split()
    assert VERDICT in paths
    assert {"data/reports", "data/accepted", "dvc.lock"} <= set(paths)


@pytest.mark.parametrize("code", [PROMOTED, NOTHING_NEW, REJECTED, BUSY, FAILED])
def test_the_workflow_is_red_only_if_the_round_failed_or_was_not_alone(code: int, tmp_path: Path) -> None:
    (round_,) = (step for step in steps() if step.get("id") == "round")
    stub(tmp_path / "timemachine", f"exit {code}")
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", round_["run"]], env=environment, capture_output=True, check=False
    )
    assert done.returncode == (0 if code in (PROMOTED, NOTHING_NEW, REJECTED) else code)
    assert (tmp_path / "output").read_text() == f"code={code}\n"


def test_no_shell_of_the_workflow_has_a_mistake_of_grammar() -> None:
    for step in steps():
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
            assert "${{" not in step["run"], "what comes from outside goes through env"

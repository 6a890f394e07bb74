"""A real `mlflow server` on loopback, to be killed and started again."""

import configparser
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import requests
from graph import ROOT

USER, PASSWORD = "admin", "correct-horse-battery"
_PATIENCE_S = 120


class Server:
    """An MLflow server with SQLite and proxied artifacts in a folder; a context manager that starts and kills it.

    The port is the same as long as the object lives, also while the server is down.

    Args:
        folder: empty, for the database, the artifacts and the log.
        empty_store: a migrated database to begin with: making one takes seconds.
        basic_auth: whether it lets in only `USER` with `PASSWORD`.
    """

    def __init__(self, folder: Path, empty_store: Path, *, basic_auth: bool = False) -> None:
        self.store = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self.log = folder / "server.log"
        shutil.copy(empty_store, self.store)
        self._options: list[str] = []
        # Jobs are for judges of language agents; their runner is one more process to start.
        self._environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        if basic_auth:
            # The shipped example, with a password and a place of its own.
            example = configparser.ConfigParser()
            example.read(ROOT / "deploy/basic_auth.ini.example")
            users = f"sqlite:///{folder / 'basic_auth.db'}"
            example["mlflow"].update(admin_username=USER, admin_password=PASSWORD, database_uri=users)
            ini = folder / "basic_auth.ini"
            with ini.open("w") as file:
                example.write(file)
            self._options = ["--app-name", "basic-auth"]
            self._environment |= {
                "MLFLOW_AUTH_CONFIG_PATH": str(ini),
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests",
            }
        # Bound but not listening: the system reserves the port, and the server can still bind it.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._reservation.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        host, port = self.address.split(":")
        command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.store}", *self._options]
        command += ["--artifacts-destination", str(self.artifacts)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", **self._environment}
        with self.log.open("ab") as log:
            # A session of its own: killing the command alone would leave its workers alive.
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mlflow server did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server, as a power cut would; nothing if it does not run."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reservation.close()

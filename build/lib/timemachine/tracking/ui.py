"""MLflow's page, started with two processes, and the addresses of the saved views in it."""

import os
import socket
import sys
from pathlib import Path

import typer

from timemachine.base.errors import UserError
from timemachine.tracking.address import sqlite_file, tracking_uri
from timemachine.tracking.views import HOST, view_links


def open_page(root: Path, experiment: str, port: int) -> None:
    """Print the addresses of the saved views, and replace this process by MLflow's server.

    If the store is a server itself, only its addresses are printed.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment of the models.
        port: port of 127.0.0.1.

    Raises:
        UserError: there is no store, it cannot be reached, or the port is taken.
    """
    uri = tracking_uri(root)
    if (database := sqlite_file(uri)) and not database.exists():
        raise UserError(f"{database}: no such MLflow store; run `make repro`")
    is_server = uri.startswith("http")
    if not is_server:
        _check_free(port)
    for name, address in view_links(root, experiment, port):
        typer.echo(f"{name}: {address}")
    if is_server:
        return
    typer.echo("MLflow answers there in about 10 seconds; Ctrl-C ends it.")
    sys.stdout.flush()
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # Without a line for each request, which would push the addresses off the screen.
    command += ["--uvicorn-opts", "--log-level warning"]
    # In the environment and not in the arguments, which other users can read.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "PYTHONWARNINGS": "ignore"}
    # Jobs are for judges of language agents; their runners are nine processes.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.execve(sys.executable, command, environment)  # noqa: S606 - MLflow, no shell


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {HOST}: {error.strerror}; choose another: `make ui PORT={port + 1}`, "
                f"or `timemachine ui --port {port + 1}`"
            ) from None

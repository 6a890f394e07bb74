"""Where MLflow keeps things, said to people."""

from pathlib import Path

import pytest

from timemachine.tracking.address import hide_secrets, tracking_uri


@pytest.mark.parametrize("name", ["why?", "100%", "p%41"])
def test_a_folder_whose_name_the_store_would_misread_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        ValueError, match=r"does not accept '[?%]' in the path of its store; rename the folder, or set"
    ):
        tracking_uri(tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert tracking_uri(tmp_path / name) == "http://host:5000"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:secret@host:5000", "http://host:5000"),
        ("https://ann:se/cr@et@host", "https://host"),
        ("postgresql+psycopg2://ann:secret@host/mlflow", "postgresql+psycopg2://host/mlflow"),
        (
            "postgresql://host/mlflow?user=ann&password=secret&x=1",
            "postgresql://host/mlflow?user=ann&password=...&x=1",
        ),
        ("sqlite:////home/ann@host/mlflow.db", "sqlite:////home/ann@host/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_user_and_password(uri: str, shown: str) -> None:
    assert hide_secrets(f"MLflow at {uri}: down") == f"MLflow at {shown}: down"

"""Where MLflow keeps things, said to people."""

import pytest

from timemachine.tracking.address import without_password


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
    assert without_password(f"MLflow at {uri}: down") == f"MLflow at {shown}: down"

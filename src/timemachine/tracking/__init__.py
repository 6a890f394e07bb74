"""MLflow: publishing, live logging, the model registry and the model server."""

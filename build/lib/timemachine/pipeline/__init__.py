"""How a script becomes a stage: params.yaml as a whole, progress, paths of artifacts, repair after a crash."""

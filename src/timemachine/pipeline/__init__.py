"""How a script becomes a stage, and how a repository is repaired after a crash."""

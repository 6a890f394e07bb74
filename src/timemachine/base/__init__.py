"""The ground: strict config, errors, files, and how results are computed."""

"""The ground of all rooms: errors, files, strict config, threads."""

"""What all packages use: strict configuration, errors, files, threads."""

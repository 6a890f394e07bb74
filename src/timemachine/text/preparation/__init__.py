"""From the sources of a text to corpora on disk."""

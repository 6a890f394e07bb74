"""All language models of a corpus side by side."""

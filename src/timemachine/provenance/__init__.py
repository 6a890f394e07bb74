"""Where results come from, and whether they come again."""

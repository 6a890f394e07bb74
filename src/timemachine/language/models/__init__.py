"""Recurrent language models; nothing here trains."""

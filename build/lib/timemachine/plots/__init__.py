"""Figures: values in, figure out."""

"""Retraining: inbox, pipeline, gate, promotion and rollback."""

"""One round of retraining: texts in, pipeline, gate, promotion, and the way back."""

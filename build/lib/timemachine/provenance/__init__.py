"""Tracing results to their origin, and verifying that they can be reproduced."""

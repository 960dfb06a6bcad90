"""Structured logs, metrics and trace ids."""

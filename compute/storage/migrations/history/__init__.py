"""Revisions of the validator's history."""

"""Revisions of the validator's database."""

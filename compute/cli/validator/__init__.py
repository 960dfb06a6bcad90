"""Verbs about a validator, from its state folder."""

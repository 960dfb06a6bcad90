"""Revisions of the miner's database."""

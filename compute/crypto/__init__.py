"""Sealing and key handling: bytes in, bytes out."""

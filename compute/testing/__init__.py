"""Fakes and factories that other subnets can test against too."""

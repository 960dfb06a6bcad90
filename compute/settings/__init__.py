"""Settings of each role: flags over environment over YAML over defaults."""

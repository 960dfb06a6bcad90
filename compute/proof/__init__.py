"""The GPU proof: sans-I/O sessions, prover and verifier."""

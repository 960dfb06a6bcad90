"""A Bittensor compute subnet: proven miners, sealed SSH leases, weights for what was measured."""

"""The miner: leases containers and ends them on time."""

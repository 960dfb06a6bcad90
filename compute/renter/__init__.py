"""The renter's side: keys, leases, shells."""

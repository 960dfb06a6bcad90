"""SSH to a leased container, with the host key pinned: never trust on first use."""

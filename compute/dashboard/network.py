"""The chain's name for people."""


def public_name(network: str) -> str:
    """A network's name without what it may hide: paths, and users and keys of addresses."""
    if network.startswith("dev:"):
        return "development chain"
    return network.rpartition("@")[2].partition("?")[0]

"""A development chain in one SQLite file, at the SDK's own seam.

It lets the SDK's real code run without a network: in the demo, in tests, and for trying the
product out. It keeps the rules of the real chain that the product can run into; what it does not
keep is told in docs/chain.md.
"""

from compute.adapters.chain.devchain.file import DevChainAwayError
from compute.adapters.chain.devchain.params import ChainParams, SubnetParams
from compute.adapters.chain.devchain.provision import Provision, create
from compute.adapters.chain.devchain.substrate import DevChain

__all__ = [
    "ChainParams",
    "DevChain",
    "DevChainAwayError",
    "Provision",
    "SubnetParams",
    "create",
]

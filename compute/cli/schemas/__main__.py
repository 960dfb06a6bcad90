"""`python -m compute.cli.schemas`: write the schemas anew."""

import sys

from compute.cli.schemas.making import write

if __name__ == "__main__":
    for changed in write():
        sys.stdout.write(f"{changed}\n")

"""Names of the headers beside those of `btauth/1`."""

RECEIPT = "X-Compute-Receipt"
TRACE = "X-Compute-Trace"
STALE = "X-Compute-Stale"
"""Age in seconds (or `never`) of the answerer's view of the chain, when it is too old."""

"""The GPU proof: an exact, memory-hard matrix chain that a CPU can check in milliseconds.

The modules that the prover needs (`prf`, `exact`, `trees`, `sizes`, `chain`, `wire`, `engine*`,
`holder`, `prover`, `service`) run on Python 3.9 with NumPy alone, because they are packed into the
program that is copied into foreign containers. The verifier's side never imports torch.
"""

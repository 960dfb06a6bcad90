"""The outside world: container engine, chain, SSH, hardware, HTTP."""

"""Container engines: a private one, base images, and the Docker API behind the engine port."""

"""What the roles ask of the outside world, as Protocols."""

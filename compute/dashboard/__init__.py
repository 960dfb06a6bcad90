"""The web dashboard: what a neuron shows a person, read-only, served by the neuron itself."""

"""The synapses, their authentication and their errors on the wire."""

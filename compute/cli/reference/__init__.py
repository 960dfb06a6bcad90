"""The API reference, made from the code: synapses, the validator's HTTP interface, the SDK."""

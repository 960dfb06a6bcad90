"""The machine underneath: its clocks, its parts, its GPUs."""

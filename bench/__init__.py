"""Measurements: what the bundle costs beside what one would do by hand. `make bench` runs them all."""

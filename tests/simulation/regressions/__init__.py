"""Failures of other systems, as scripts over simulated members."""

"""Faults on a real cluster: killed, paused and cut-off members."""

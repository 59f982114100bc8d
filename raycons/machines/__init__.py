"""Deterministic state machines that a group's committed entries feed."""

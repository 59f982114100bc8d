"""Consensus protocols as pure objects: no clock, no I/O, no randomness of their own."""

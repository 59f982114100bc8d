"""A virtual world for the shipped engine and client core: time, network, disks, faults, proofs."""

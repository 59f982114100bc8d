"""The demonstration: load, faults and a full restart, and then the proof that nothing was lost."""

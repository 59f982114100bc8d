"""Moving messages between members, and between clients and members: over TCP or Ray actor calls."""

"""Clusters on Ray: start, connect, stop; placement, supervision, repair, status."""

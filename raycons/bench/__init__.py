"""How fast it is, and how soon it is back: loads, failover trials and the physical bound.

Every figure is taken by a client in the same process as the measurement, with a monotonic clock,
and is reported with its circumstances: clients, replicas, storage, transport.
"""

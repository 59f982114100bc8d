"""The key-value machine: etcd v3's data model."""

from raycons.machines.kv.machine import KeyValueMachine
from raycons.machines.kv.settings import KeyValueSettings

__all__ = ["KeyValueMachine", "KeyValueSettings"]

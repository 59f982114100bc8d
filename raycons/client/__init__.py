"""The client: a pure core (routing, retry, sessions, outcomes), the shells, the kv faces."""

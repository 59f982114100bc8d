"""MultiPaxos: one file a duty; `replica` puts them together."""

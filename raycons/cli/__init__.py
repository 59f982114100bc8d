"""The `raycons` command: a terminal's view of the public API."""

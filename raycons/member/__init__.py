"""A member: the engine, pure, and the shell around it that makes it a Ray actor."""

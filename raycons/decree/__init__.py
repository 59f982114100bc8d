"""Single-decree Paxos on Ray: every acceptor, proposer and learner is an actor of its own."""

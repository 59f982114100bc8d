"""CASPaxos: a linearizable register for each key, with no log and no leader.

messages     what proposers and acceptors say to each other
acceptor     promises, and accepts states, for each register
proposer     turns requests into changes of a register, and gets them chosen
rounds       what it does for one change
transition   what it is told to do to a register, and what it tells of it
slots        what it has under way for one key
collection   gives back the room of registers that were deleted

Rystsov, "CASPaxos: Replicated State Machines without logs" (2018). What a register's bytes mean,
and what a request does to them, is not known here: see `raycons.machines.register`.
"""

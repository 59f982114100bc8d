"""A member of a cluster of registers: CASPaxos with its store, its clients and its configuration.

engine         carries out what the roles want, one turn after the other
ledger         what acceptor, proposer and configuration keep in the store
service        what clients ask: frames of operations, each on a register of its own
electorate     the configuration: where it is, who tells of it, how it changes
reconfiguring  the register that it is
carrying       what a change of voters has to carry over
tombstones     what was deleted, and is to be collected
"""

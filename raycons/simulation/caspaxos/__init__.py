"""Groups of registers in the virtual world: CASPaxos under the same faults as the other protocols.

run          one seed, from its first member to the verdict
scenario     what a seed draws besides what every protocol's seeds do
members      a member's process, and one whose every step is shown to the invariants
invariants   what must hold of acceptors, of ballots, and of a register's chain of changes
chains       that chain: what each request did, and in what order
history      what clients were told, and whether it is true
operator     adds and removes members
rare         what a campaign is expected to meet
"""

"""The Paxos family.

messages   what proposers, acceptors and learners say to each other
synod      single-decree Paxos: one value is chosen, once
"""

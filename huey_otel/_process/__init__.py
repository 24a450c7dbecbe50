"""What one process has: a relay and a page for all its hueys, and outputs for each.

Owns what all instrumented hueys of a process share, and where the records and spans
of each go. May import the relay, the outputs and all below. Begin reading in
`outputs`, then `shared`.
"""

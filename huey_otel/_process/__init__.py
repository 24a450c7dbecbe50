"""What one process has: a relay and a page for all its hueys, and outputs for each.

Owns what all instrumented hueys of a process share, where the records and spans of
each go, and the line that a consumer logs when it starts. May import the relay, the
outputs and all below. Begin reading in `outputs`, then `shared`.
"""

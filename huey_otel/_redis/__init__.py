"""Redis: the publisher of events, and the listener that reads them.

Owns what is written to Redis and read from it as events. May import `_storage`, which
makes its connections, and all below; never the other two outputs. Begin reading in
`publisher`, then `listener`.
"""

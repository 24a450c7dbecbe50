"""Redis: the publisher that writes events, and the listener that reads them.

Owns the connection on which events are published, the subscription on which they are
read, and the publisher's thread. May import `_storage`, which makes its connections,
and all below it, never the other two outputs. Begin reading in `publisher`, then in
`listener`.
"""

"""Redis: the writers of events and of metrics pages, and the listener.

Owns the connection on which events are published, the publisher's thread, the stream
that keeps events, the two ways to read them (the subscription to a channel, and the
stream), and the thread that writes metrics pages. May import `_storage`, which makes
its connections, and all below it, never the other two outputs. Begin reading in
`publisher`, `stream` and `pages`, then in `listener`, `channel_reader` and
`stream_reader`.
"""

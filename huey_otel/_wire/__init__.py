"""What crosses a boundary between processes, once: record, carrier, event, span.

Owns the shape of what travels in a message, through the pipe and to readers of
events. The names on the wire are in `_names`, below everything, because losses and
options need them too. May import `_options`, `_safety` and the vocabulary. Begin
reading in `record`, then `carrier` and `event`.
"""

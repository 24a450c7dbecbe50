"""What crosses a boundary between processes, once: record, carrier, event, span, page.

Owns the shape of what travels in a message, through the pipe, to readers of events
and of metrics pages. The names on the wire are in `_names`, below everything, because
losses and options need them too. May import `_options`, `_safety` and the vocabulary.
Begin reading in `record`, then `carrier` and `event`.
"""

"""`huey-otel top`: one screen that says what a queue is doing; begin with `command`.

What is known of a queue at one moment is a `Snapshot`; `look` gathers it, `screen`
draws it. Nothing here imports redis before the first frame is drawn.
"""

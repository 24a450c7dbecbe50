"""instrument(): options in, the parts of one huey assembled, and taken apart again.

Owns what one instrumented huey is made of. May import every package below; imported by
`huey_otel` itself, `testing`, `django` and `_instrumentor`. Begin reading in
`instrument`, then `instrumentation`.
"""

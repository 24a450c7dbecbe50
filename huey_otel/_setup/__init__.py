"""instrument(): options in, the parts of one huey assembled, and taken apart again.

Owns what one instrumented huey is made of. May import every package below; only the
door, the Django application and the instrumentor import it. Begin reading in
`instrument`, then `instrumentation`.
"""

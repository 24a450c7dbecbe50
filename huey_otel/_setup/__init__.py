"""instrument(): options in, the parts of one huey assembled, and taken apart again.

Owns what one instrumented huey is made of, what all of a process share, the start
line, and the order of a shutdown. May import every package below; only the door, the
Django application and the instrumentor import it. Begin reading in `instrument`,
then `instrumentation`.
"""

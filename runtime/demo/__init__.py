"""`python -m runtime demo`: the shop at work, and the telemetry it produces.

Begin with `run`, the command. `session` holds the running services, `processes`
starts and ends a process, `listener` and `producer` are processes of their own,
`metrics` and `traces` read what arrives, and `terminal` prints it.
"""

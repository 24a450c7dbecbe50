"""The command `huey-otel`: begin with `main`; each sub-command is a module.

A sub-command's module imports at its top only what its help needs, so that the
command starts fast.
"""

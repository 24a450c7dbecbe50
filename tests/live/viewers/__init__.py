"""The sample shop before a real Jaeger and Prometheus 3: what a person would see.

`make proof-viewers` builds both programs and runs these tests; nothing else does.
"""

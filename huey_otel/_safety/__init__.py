"""Why telemetry never hurts: the guard, losses, forks, timeouts, texts and the log.

Owns every rule by which no failure of ours reaches a task and each loss is counted.
Imports the vocabulary alone. Begin reading in `guard`, then `losses` and `forks`.
"""

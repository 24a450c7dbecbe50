"""Enqueues tasks of `proof` as a web process would."""

import sys

from tests.live.apps.proof import call, die, work

for number in range(int(sys.argv[1])):
    call(work, number, float(sys.argv[2]))
    if number < int(sys.argv[3]):
        call(die)

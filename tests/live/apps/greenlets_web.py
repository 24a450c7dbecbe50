"""Enqueues tasks of `greenlets` as a web process of greenlets would."""

import json
import sys

from tests.live.apps import greenlets

if sys.argv[1:] == ["used"]:
    # What a process does before its server patches: threads are started by then.
    greenlets.add(0, 0)
if sys.argv[1:] == ["fork"]:
    assert [greenlets.fork() for _ in range(10)] == [0] * 10
greenlets.patch_if("after the first use")
sys.stdout.write(json.dumps(greenlets.produce(20, 20)) + "\n")

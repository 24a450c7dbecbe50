"""The traces drawn in docs/traces.md are those that a real collector gets."""

import re

import pytest

from docs import trees

pytestmark = pytest.mark.once


def test_each_shape_is_documented_as_it_arrives():
    text = trees.DOCUMENT.read_text()

    found = trees.trees(trees.received())

    places = re.findall(r"<!-- shape: (.+) -->", text)
    assert sorted(found) == sorted(places)
    assert trees.rewritten(text, found) == text

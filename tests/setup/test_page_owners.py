"""Which metrics page of a process has a series: always one."""

from huey_otel._process.page_owners import PageOwners

QUEUES = ("mail", "web", "only-enqueued-to", "")


def owned(owners, *numbers):
    """The queues that are on each page."""
    return {
        number: {queue for queue in QUEUES if owners.owns(number, queue)}
        for number in numbers
    }


def test_each_queue_is_on_the_page_of_its_consumer_and_the_rest_on_the_first():
    owners = PageOwners()
    owners.add(2, "web")
    owners.add(1, "mail")

    assert owned(owners, 1, 2) == {
        1: {"mail", "only-enqueued-to", ""},
        2: {"web"},
    }


def test_two_consumers_of_one_name_share_a_page():
    owners = PageOwners()
    owners.add(1, "mail")
    owners.add(2, "mail")

    assert owned(owners, 1, 2) == {1: set(QUEUES), 2: set()}


def test_the_page_that_is_left_has_all():
    owners = PageOwners()
    owners.add(1, "mail")
    owners.add(2, "web")

    owners.remove(1)

    assert owned(owners, 2) == {2: set(QUEUES)}

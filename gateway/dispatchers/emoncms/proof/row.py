"""The test row: one reading that is sent, read back, and taken away again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.dispatchers.emoncms.answers import Unexpected
from gateway.frame import Frame
from gateway.plugin import DeliveryFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dispatchers.emoncms.proof.account import Account
    from gateway.dispatchers.emoncms.proof.records import Input
    from gateway.frame import Stamp

TEST_NODE = "oemgateway-test"
"""The node of the test row: no gateway's reading has it."""


def is_test(each: Input) -> bool:
    """Tell whether an input is that of a test row, in a node of its own or, for want of room, in another."""
    return TEST_NODE in (each.node, each.key)


def make_row(value: float, stamp: Stamp, node: str = TEST_NODE) -> Frame:
    """Return the row, in a node of its own or in one that is there."""
    if node == TEST_NODE:
        return Frame(node, (value,), stamp)
    return Frame(node, (value,), stamp, (TEST_NODE,), by_name=True)


def take_away(account: Account) -> Sequence[Input]:
    """Delete what test rows have made, also those of earlier runs; return the inputs that stay all the same.

    Where the device module is installed a new node makes a device, which goes as well.
    """
    for each in account.inputs():
        if is_test(each):
            with suppress(Unexpected):  # an older Emoncms may answer in words
                account.delete_input(each.id)
    with suppress(DeliveryFailure):  # it answers 406 where there is no such module
        for number in account.devices(TEST_NODE):
            account.delete_device(number)
    return [each for each in account.inputs() if is_test(each)]

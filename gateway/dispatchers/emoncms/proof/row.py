"""The test row: one reading that is sent, read back and deleted."""

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
"""The node of the test row, which no reading has."""


def is_test(each: Input) -> bool:
    """Tell whether an input is of a test row, in its own node or, in a full account, in another one."""
    return TEST_NODE in (each.node, each.key)


def probe_row(value: float, stamp: Stamp, node: str = TEST_NODE) -> Frame:
    """Return the row, in its own node or in one that exists."""
    if node == TEST_NODE:
        return Frame(node, (value,), stamp)
    return Frame(node, (value,), stamp, (TEST_NODE,), by_name=True)


def delete_test_rows(account: Account) -> Sequence[Input]:
    """Delete the inputs of test rows, also of earlier runs; return those that could not be deleted.

    Where the device module is installed a new node creates a device, which is deleted as well.
    """
    for each in account.inputs():
        if is_test(each):
            with suppress(Unexpected):  # an older Emoncms may answer in words
                account.delete_input(each.id)
    with suppress(DeliveryFailure):  # it answers 406 where there is no such module
        for number in account.devices(TEST_NODE):
            account.delete_device(number)
    return [each for each in account.inputs() if is_test(each)]

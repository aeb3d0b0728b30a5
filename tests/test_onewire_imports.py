"""listeners/onewire: what is in its folders imports only from those below them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import listeners.onewire

HOME = Path(listeners.onewire.__file__).parent
LAYERS = ["", "checks", "drivers", "commands"]
"""The folders, the lowest first; "" is the package itself."""


@pytest.mark.parametrize("layer", LAYERS)
def test_no_import_goes_upward(layer):
    modules = list((HOME / layer).glob("*.py"))
    above = "|".join(LAYERS[LAYERS.index(layer) + 1 :]) or "nothing"
    upward = re.compile(rf"^\s*from listeners\.onewire\.({above})\b.*", re.MULTILINE)
    assert len(modules) > 3
    assert {str(module): upward.findall(module.read_text()) for module in modules} == {
        str(module): [] for module in modules
    }


def test_no_two_modules_of_the_package_import_each_other():
    imported = {
        module.stem: set(re.findall(r"from listeners\.onewire\.(\w+) import", module.read_text()))
        for module in HOME.glob("*.py")
    }
    assert imported["bus"]
    pairs = [(one, other) for one in imported for other in imported[one] if one in imported.get(other, ())]
    assert pairs == []

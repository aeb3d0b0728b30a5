"""The tests pass in whatever environment they are started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tests

CHOSEN = (
    "test_http_input.py::test_one_connection_serves_for_many_requests",
    "test_logs.py::test_a_line_has_its_time_its_level_and_its_section",
    "test_command.py::test_without_a_standard_input_it_starts_as_it_does_with_one",
    "test_install.py::test_without_a_network_setting_up_says_so_in_a_few_lines",
)


def test_the_tests_do_without_a_proxy_another_language_and_a_journal():
    # given what a user may have set
    proxies = dict.fromkeys((name for name in tests.FOREIGN if name.lower() != "no_proxy"), "127.0.0.1:9")
    foreign = proxies | {
        "LANGUAGE": "de",
        "PYTHONWARNINGS": "default",
        "JOURNAL_STREAM": "8:123",
        "FORCE_COLOR": "1",
    }

    # when tests are run that would see it
    folder = Path(tests.__file__).parent
    command = [sys.executable, "-m", "pytest", "--color=no", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    done = subprocess.run(
        [*command, *(str(folder / each) for each in CHOSEN)],
        cwd=folder.parent,
        env=os.environ | foreign,
        capture_output=True,
        text=True,
        check=False,
    )

    # then they pass
    assert "4 passed" in done.stdout, done.stdout

"""The tests, in an environment in which the programs that they run say and do what they do elsewhere."""

import os

FOREIGN = (
    # What the user sets for a network: the servers are on this machine.
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    # The words of errors are compared.
    *("LANGUAGE", "PYTHONWARNINGS", "FORCE_COLOR"),
    # A terminal that systemd has started passes it on: there the log would leave out its times.
    "JOURNAL_STREAM",
)
"""Variables of whoever starts the tests that they do without."""

for name in FOREIGN:
    os.environ.pop(name, None)

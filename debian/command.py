#!/usr/bin/python3
"""The `oemgateway` command of the Debian package, which lies beside its modules."""

from gateway.__main__ import start

raise SystemExit(start())

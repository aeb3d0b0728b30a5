#!/usr/bin/python3
"""The `oemgateway` command of the Debian package, which lies beside its modules."""

from gateway.commands.main import main

raise SystemExit(main())

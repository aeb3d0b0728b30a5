"""`python -m gateway` is the `oemgateway` command."""

from gateway.commands.main import main

raise SystemExit(main())

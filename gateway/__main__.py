"""`python -m gateway` is the `oemgateway` command."""

from gateway.command import main

raise SystemExit(main())

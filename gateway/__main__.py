"""`python -m gateway` is the `oemgateway` command."""

try:
    from gateway.commands.main import main
except ModuleNotFoundError as error:
    raise SystemExit(
        f"oemgateway: the Python module {error.name} is missing: `make demo` fetches what a trial needs, "
        "`sudo make install` makes the service"
    ) from None

raise SystemExit(main())

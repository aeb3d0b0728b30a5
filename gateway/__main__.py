"""`python -m gateway` is the `oemgateway` command."""

import signal


def start() -> int:
    """Import the command, which takes seconds on a Pi Zero, and run it; return its exit status.

    Ctrl-C ends the import as it ends any program, without Python's traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not where it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from gateway.commands.main import main  # noqa: PLC0415  (only now may it be interrupted)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"oemgateway: the Python module {error.name} is missing: `make demo` fetches what a trial needs, "
            "`sudo make install` makes the service"
        ) from None
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return main()


if __name__ == "__main__":
    raise SystemExit(start())

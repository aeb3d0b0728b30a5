"""`python -m gateway` is the `oemgateway` command."""

import signal
import sys


def start() -> int:
    """Import the command, which takes seconds on a Pi Zero, and run it; return its exit status.

    Ctrl-C ends the import as it ends any program, without Python's traceback. SIGHUP has the gateway read its
    file again, and does not end it while it has not read it for the first time.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _pass_over)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not where it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from gateway.commands.main import COMMANDS, main  # noqa: PLC0415  (only now may it be interrupted)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"oemgateway: the Python module {error.name} is missing: `make demo` fetches what a trial needs, "
            "`sudo make install` makes the service"
        ) from None
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is _pass_over and not (COMMANDS.keys() - {"run"}).isdisjoint(sys.argv):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    return main()


def _pass_over(*_: object) -> None:
    """Ignore a signal about which there is nothing to do yet."""


if __name__ == "__main__":
    raise SystemExit(start())

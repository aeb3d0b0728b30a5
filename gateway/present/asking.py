"""The running gateway, as a command finds and asks it; its user may be unable to read the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.conf import config
from gateway.conf.config import ConfigFaults, Fault
from gateway.paths import DEFAULT_FILE
from gateway.present.status import Status, from_json
from gateway.process import control
from gateway.text.words import failure

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class RunningGateway:
    """The gateway that runs with a file, behind its socket.

    `unread` says why the file does not tell where its socket is: that is then taken to be at its default
    place.
    """

    file: Path
    socket: Path
    unread: ConfigFaults | None = None

    @classmethod
    def of(cls, file: Path) -> Self:
        """Find it. Raises ConfigFaults where a file was named that is not there, or is not a text file."""
        try:
            gateway, hidden = config.read_gateway(file)  # faults elsewhere in it do not matter
        except ConfigFaults as faults:
            is_default = file == DEFAULT_FILE and isinstance(faults.__cause__, FileNotFoundError)
            if not is_default and not isinstance(faults.__cause__, PermissionError):
                raise
            return cls(file, config.defaults(file).find_socket(), faults)
        is_hidden = "socket" in hidden or ("state_dir" in hidden and not gateway.socket)
        fault = Fault(str(file), 0, "", "it has faults, which hide where the socket is: oemgateway check")
        return cls(file, gateway.find_socket(), ConfigFaults([fault]) if is_hidden else None)

    @property
    def is_secret(self) -> bool:
        """Whether this user may not read the file."""
        return self.unread is not None and isinstance(self.unread.__cause__, PermissionError)

    def status(self) -> Status:
        """Return its status. Raises as `ask` does, and ConfigFaults where it runs with another file.

        The latter is found only where the file that was named cannot be read.
        """
        try:
            status = from_json(Status, self.ask("status"))
        except (TypeError, AttributeError, KeyError) as error:
            raise OSError(f"the gateway at {self.socket} is of another version: restart it") from error
        is_other = self.file != DEFAULT_FILE and not self.runs_with(self.file, status)
        if self.unread and is_other:
            raise self.unread
        return status

    @staticmethod
    def runs_with(file: Path, status: Status) -> bool:
        """Tell whether the gateway of this status runs with a file."""
        return Path(status.file).resolve() == file.resolve()

    def ask(self, what: str, *, patience: float = 4.0, **arguments: object) -> Any:  # noqa: ANN401  (JSON)
        """Return its answer, for which it has `patience` seconds.

        Raises ConnectionRefusedError if none runs, TimeoutError if it hangs, another ConnectionError if the
        answer makes no sense, PermissionError if this user may not ask, and OSError if the gateway answers
        that it cannot.
        """
        try:
            answer = control.ask(self.socket, what, patience=patience, **arguments)
        except PermissionError:
            raise PermissionError(
                f"{self.socket}: a gateway may be running, but this user may not ask it: sudo"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError) as error:
            cure = "sudo service oemgateway start"
            if self.is_secret:
                cure += f"; this user may not read {self.file}, which may name another socket: sudo"
            elif self.unread:
                cure = f"{self.unread}"
            raise ConnectionRefusedError(
                f"no gateway answers at {self.socket} ({error.strerror}): {cure}"
            ) from error
        except TimeoutError:
            raise
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionError(f"the gateway at {self.socket} has too many clients: try again") from error
        except ValueError as error:
            raise ConnectionRefusedError(f"the gateway at {self.socket} is shutting down") from error
        except OSError as error:
            raise ConnectionError(
                f"the gateway at {self.socket} does not answer ({failure(error)})"
            ) from error
        if not isinstance(answer, dict):
            raise ConnectionError(f"what answers at {self.socket} is not a gateway")
        if "error" in answer:
            raise OSError(f"the gateway says: {answer['error']}")
        return answer

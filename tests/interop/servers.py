"""How a server that clients used must end."""

import re
from typing import Final

from tests.server import RunningServer

_SERVER_ERROR: Final = re.compile(r'.*"status": ?5\d\d.*')


def stop(server: RunningServer) -> None:
    """Stop a server, which has met no error that it does not know, and has answered no 5xx."""
    assert server.stop() == 0
    log = server.log()
    assert "Traceback" not in log, log
    assert _SERVER_ERROR.findall(log) == []

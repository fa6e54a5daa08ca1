"""Status lines of HTTP/1.1 responses."""

from http import HTTPStatus
from typing import Final

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}

"""Errors in OpenAI's form, on every path: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from folio.errors import UserError

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's names for the kinds of errors; below 500 all others are "invalid_request_error"."""
CODES = {404: "not_found", 405: "method_not_allowed"}
WORDS = {404: "There is no such path here.", 405: "This path does not take that method."}


class ApiError(Exception):
    """A request that is refused, or that failed.

    status: of HTTP. message: what is wrong, where, and what to do. param: the field at fault, as in `messages[3].role`.
    code: a name for programs. headers: further headers of the answer, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def to_table(self) -> dict[str, object]:
        """Return the body of the answer."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def to_json(self) -> str:
        """Return the body as JSON in ASCII, on one line."""
        return json.dumps(self.to_table())

    def to_response(self) -> Response:
        """Return the answer."""
        return Response(self.to_json(), self.status, self.headers, "application/json")


def as_api_error(error: BaseException) -> ApiError:
    """Return any error as one to send: a UserError with its own words, an internal one without."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, str(error))
    if isinstance(error, HTTPException):
        message = WORDS.get(error.status_code, error.detail)
        return ApiError(
            error.status_code, message, code=CODES.get(error.status_code), headers=dict(error.headers or {})
        )
    return ApiError(500, "The server failed on this request; its terminal says how.", code="internal_error")


async def respond(request: Request, error: Exception) -> Response:
    """Answer a request that raised an error. For Starlette's `exception_handlers`."""
    return as_api_error(error).to_response()

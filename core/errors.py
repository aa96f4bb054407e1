"""Domain errors: one stable code each, and one table that gives every protocol its status.

A code is permanent: clients, translations and alerts are keyed on it. The message is a sentence a
person can act on; it never holds a secret, a foreign tenant's data or a stack trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What a code means on each wire.

    status: HTTP status. openai_type: the `type` of an OpenAI error body.
    retryable: the same request may succeed later without being changed.
    """

    status: int
    message: str
    openai_type: str = "invalid_request_error"
    retryable: bool = False


def _server(status: int, message: str, *, retryable: bool = True) -> ErrorSpec:
    return ErrorSpec(status, message, "server_error", retryable)


def _auth(message: str) -> ErrorSpec:
    return ErrorSpec(401, message, "authentication_error")


ERRORS: dict[str, ErrorSpec] = {
    # who is speaking
    "not_authenticated": _auth("Sign in, or send an API key as `Authorization: Bearer ak_...`."),
    "invalid_credentials": _auth("The e-mail address or the password is not right."),
    "invalid_api_key": _auth("This API key is not valid here. Check that it was copied whole and not revoked."),
    "api_key_expired": _auth("This API key has expired. Ask an administrator for a new one."),
    "ticket_invalid": _auth("This ticket was used already or is older than 30 seconds. Ask for a new one."),
    "token_invalid": _auth("This access token is not valid here, or it has expired. Refresh it, or sign in again."),
    "mfa_required": _auth("Your account has a second factor. Send its six digits or a recovery code as `code`."),
    "mfa_code_invalid": _auth("This code is not right, or it was used already. Wait for the next one, and try again."),
    "mfa_enrolment_required": ErrorSpec(
        403, "This workspace asks for a second factor. Set one up on the security page first.", "permission_error"
    ),
    "permission_denied": ErrorSpec(403, "Your role or API key does not allow this.", "permission_error"),
    "origin_forbidden": ErrorSpec(403, "Connections from this web page are not accepted.", "permission_error"),
    "tenant_suspended": ErrorSpec(
        403, "This workspace is suspended. Contact the operator of the platform.", "permission_error"
    ),
    "tenant_creating": ErrorSpec(
        503, "This workspace is being made. Try again in a few seconds.", "server_error", True
    ),
    "sign_up_closed": ErrorSpec(
        403, "This platform takes no sign-ups. Ask its operator for a workspace.", "permission_error"
    ),
    "address_not_allowed": ErrorSpec(403, "This API key may not be used from your address.", "permission_error"),
    "impersonation_forbids": ErrorSpec(403, "This cannot be done while you act as somebody else.", "permission_error"),
    # signing in with somebody else's word
    "identity_state": ErrorSpec(
        404,
        "This sign-in was begun in another browser, was used already, or is older than ten minutes. Begin again.",
        "not_found_error",
    ),
    "identity_cancelled": ErrorSpec(
        403, "The sign-in was cancelled there, or it was not allowed. Nothing has changed here.", "permission_error"
    ),
    "identity_provider_failed": _server(
        502, "The sign-in service has failed, or sent something that cannot be read. Try again in a moment."
    ),
    "identity_provider_unavailable": _server(502, "The sign-in service cannot be reached. Try again in a moment."),
    "identity_provider_timeout": _server(504, "The sign-in service took too long to answer. Try again in a moment."),
    "identity_provider_refused": _server(
        502,
        "The sign-in service did not accept our request. Begin again; if it stays, ask an administrator to check the "
        "client id and the client secret.",
        retryable=False,
    ),
    "identity_issuer_mismatch": _server(
        502,
        "The sign-in service says that it is another one than was set. Ask an administrator to check the issuer.",
        retryable=False,
    ),
    "identity_address_forbidden": _server(
        502,
        "The sign-in service has an address that may not be called from here. Ask an administrator to check it.",
        retryable=False,
    ),
    "identity_token_invalid": _server(
        502,
        "The answer of the sign-in service cannot be trusted: it is not signed as it should be, or not meant for this "
        "sign-in. Begin again.",
        retryable=False,
    ),
    "identity_clock": _server(
        502,
        "The answer of the sign-in service has expired or is not valid yet: its clock and ours differ. Tell an "
        "administrator.",
        retryable=False,
    ),
    "identity_email_unverified": ErrorSpec(
        403,
        "The sign-in service does not say that your e-mail address is verified. Verify it there, then begin again.",
        "permission_error",
    ),
    "identity_domain": ErrorSpec(
        403, "This workspace takes e-mail addresses of other domains from this sign-in service.", "permission_error"
    ),
    "identity_not_connected": ErrorSpec(
        403,
        "There is somebody with this e-mail address already. Sign in with your password first, then connect this "
        "sign-in service on your profile. Without a password, ask for one with “Forgot password?”.",
        "permission_error",
    ),
    "identity_uninvited": ErrorSpec(
        403, "You are no member of this workspace. Ask one of its administrators for an invitation.", "permission_error"
    ),
    "identity_not_admitted": ErrorSpec(
        403, "This account may not sign in here. Ask an administrator for an invitation.", "permission_error"
    ),
    "identity_taken": ErrorSpec(
        409, "This account of the sign-in service is connected to somebody else.", "conflict_error"
    ),
    # connecting an MCP server
    "connection_state": ErrorSpec(
        404,
        "This connection was begun in another browser or by somebody else, was used already, or is older than ten "
        "minutes. Begin again.",
        "not_found_error",
    ),
    "connection_cancelled": ErrorSpec(
        403, "The connection was cancelled there, or it was not allowed. Nothing has changed here.", "permission_error"
    ),
    # what is asked for
    "tenant_not_found": ErrorSpec(404, "There is no workspace at this address.", "not_found_error"),
    "tenant_deleted": ErrorSpec(
        404,
        "This workspace was deleted. Its owners can still have it back, with the link in their mail.",
        "not_found_error",
    ),
    "not_found": ErrorSpec(404, "There is nothing here, or it is not yours.", "not_found_error"),
    "agent_not_found": ErrorSpec(404, "There is no such agent in this workspace.", "not_found_error"),
    "model_not_found": ErrorSpec(404, "The provider does not have this model.", "not_found_error"),
    "link_invalid": ErrorSpec(
        404, "This link was used already, has expired, or is not complete. Ask for a new one.", "not_found_error"
    ),
    "method_not_allowed": ErrorSpec(405, "This address does not take this method."),
    "not_continuable": ErrorSpec(
        409,
        "This answer cannot go on: it is whole, it is empty, or another message follows it. Regenerate it instead.",
        "conflict_error",
    ),
    "run_in_progress": ErrorSpec(
        409,
        "This conversation is still being answered. Wait for the answer, or stop it.",
        "conflict_error",
        True,
    ),
    "approval_decided": ErrorSpec(
        409, "Somebody has decided on this call already. Look again to see how.", "conflict_error"
    ),
    "approval_mismatch": ErrorSpec(
        409, "This is not the hash of the arguments that wait. Look at them again before you decide.", "conflict_error"
    ),
    "approval_expired": ErrorSpec(
        409, "A call of a tool waited for a person's approval, and nobody gave it in time. Ask again.", "conflict_error"
    ),
    "idempotency_in_progress": ErrorSpec(
        409,
        "A request with this idempotency key is just being begun. Send it again in a second.",
        "conflict_error",
        True,
    ),
    "idempotency_mismatch": ErrorSpec(
        422, "This idempotency key was used for another request. Use a new key for a new request."
    ),
    "last_owner": ErrorSpec(409, "A workspace needs an owner. Make somebody else an owner first.", "conflict_error"),
    "already_exists": ErrorSpec(409, "There is one with this name already.", "conflict_error"),
    "edited_meanwhile": ErrorSpec(
        412, "Somebody else has changed this since you looked. Look again, then repeat what you did.", "conflict_error"
    ),
    "wrong_status": ErrorSpec(409, "This cannot be done while the workspace is in this state.", "conflict_error"),
    "stream_gone": ErrorSpec(
        410, "This position is not in the stream. Fetch the conversation again.", "not_found_error"
    ),
    "message_empty": ErrorSpec(400, "The message is empty. Write something first."),
    "malformed_json": ErrorSpec(400, "The request body is not valid JSON."),
    "validation_failed": ErrorSpec(400, "The request has a field that is missing or not valid."),
    "unsupported_parameter": ErrorSpec(400, "The request has a field that is not supported here."),
    "context_too_long": ErrorSpec(400, "The conversation is longer than the model can read. Start a new one."),
    "file_unsupported": ErrorSpec(
        415, "This kind of file cannot be read here. Send PDF, Excel (.xlsx), CSV, JSON, Markdown or plain text."
    ),
    "file_too_large": ErrorSpec(413, "The file is too large. Send a smaller one, or a part of it."),
    "too_many_files": ErrorSpec(
        409, "This conversation has as many files as it may. Delete one first.", "conflict_error"
    ),
    "request_too_large": ErrorSpec(413, "The request is too large."),
    "message_too_long": ErrorSpec(413, "The message is too long. Shorten it, or split it into several."),
    # how much
    "quota_exceeded": ErrorSpec(429, "A limit on tokens or cost is used up.", "insufficient_quota"),
    "model_unpriced": ErrorSpec(
        403, "Cost is limited here, and this model has no price. Ask an administrator to set one.", "permission_error"
    ),
    "plan_limit_reached": ErrorSpec(
        403, "The plan of this workspace does not allow more. Remove one, or ask for a larger plan.", "permission_error"
    ),
    "session_limit_reached": ErrorSpec(
        429,
        "The plan of this workspace allows no more new conversations today. Go on in one that you have.",
        "insufficient_quota",
    ),
    "storage_full": ErrorSpec(
        413, "The plan of this workspace has no room for this file. Remove others, or ask for a larger plan."
    ),
    "rate_limited": ErrorSpec(429, "Too many requests. Wait a moment.", "rate_limit_error", True),
    "too_many_runs": ErrorSpec(
        429, "Too many answers are being written at once. Wait until one has ended.", "rate_limit_error", True
    ),
    "too_many_connections": ErrorSpec(
        429, "Too many open connections. Close a tab or wait a moment.", "rate_limit_error", True
    ),
    # the model
    "provider_not_configured": _server(
        503, "This agent has no working model provider. Ask an administrator to set one.", retryable=False
    ),
    "provider_not_in_plan": ErrorSpec(
        403,
        "The plan of this workspace does not include this model provider. Choose another one, or ask for another plan.",
        "permission_error",
    ),
    "provider_auth_failed": _server(
        502, "The model provider refused our key. Ask an administrator to check it.", retryable=False
    ),
    "provider_rate_limited": ErrorSpec(
        429, "The model provider is limiting our requests. Try again shortly.", "rate_limit_error", True
    ),
    "provider_unavailable": _server(502, "The model provider cannot be reached or has failed. Try again."),
    "provider_bad_response": _server(502, "The model provider sent something that is not an answer. Try again."),
    "provider_stream_cut": _server(502, "The model provider broke off in the middle of its answer. Try again."),
    "provider_request_rejected": _server(502, "The model provider rejected the request.", retryable=False),
    "provider_timeout": _server(504, "The model provider took too long to answer. Try again."),
    "provider_address_forbidden": _server(
        502, "The provider's address is not allowed from here. Use its public address.", retryable=False
    ),
    "model_starting": _server(503, "The local model is still starting. Try again in a few seconds."),
    # an agent written in Python
    "agent_failed": _server(500, "The agent has failed. Try again; if it stays, report it.", retryable=False),
    # an agent's tools, and where a run with tools ends
    "tool_failed": _server(502, "A tool has failed. Try again.", retryable=True),
    "too_many_steps": _server(
        500,
        "The agent has not come to an answer in as many steps as it may take. Ask for less at once.",
        retryable=False,
    ),
    "too_many_tool_calls": _server(
        500, "The agent wanted to use its tools more often than it may. Ask for less at once.", retryable=False
    ),
    "answer_not_in_schema": _server(
        502,
        "The model's answer does not have the form that this agent answers in, also after it was asked again. What it "
        "said is kept. Try again, or ask for less at once.",
    ),
    "run_too_long": _server(500, "The agent took longer than it may. Ask for less at once.", retryable=False),
    "run_token_limit": _server(
        500, "The agent has used as many tokens as it may for one answer. Ask for less at once.", retryable=False
    ),
    # ourselves
    "run_interrupted": _server(500, "The server that wrote this answer stopped. What was written is kept; try again."),
    "database_unavailable": _server(503, "The database is not answering. Try again in a few seconds."),
    "redis_unavailable": _server(503, "A part of the service is restarting. Try again in a few seconds."),
    "server_stopping": _server(503, "The server is restarting. Try again in a few seconds."),
    "internal_error": _server(500, "Something went wrong on our side. Try again; if it stays, report the request id."),
}


class PaasError(Exception):
    """An error with a stable code; the only kind that a transport shows to a client.

    retry_after: seconds after which a retry makes sense, or None. details: JSON values that help
    the caller (a field's name, a limit, a reset time). Unknown code: KeyError.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        spec = ERRORS[code]
        self.code = code
        self.message = message or spec.message
        self.status = spec.status
        self.openai_type = spec.openai_type
        self.retryable = spec.retryable
        self.retry_after = retry_after
        self.details = details or {}
        super().__init__(self.message)

    def __repr__(self) -> str:
        return f"PaasError({self.code!r}, {self.message!r})"

    def as_native(self, request_id: str | None = None) -> dict[str, Any]:
        """The body of our own API: `{"error": {code, message, details, request_id}}`."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "details": self.details,
                "request_id": request_id,
            }
        }

    def as_openai(self) -> dict[str, Any]:
        """The body OpenAI clients understand: `{"error": {message, type, param, code}}`."""
        param = self.details.get("param")
        return {"error": {"message": self.message, "type": self.openai_type, "param": param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds (at least 1) where the error knows it; of a rate limit, `RateLimit-*` too."""
        if self.retry_after is None:
            return {}
        wait = str(max(1, round(self.retry_after)))
        if self.code != "rate_limited" or "limit" not in self.details:
            return {"Retry-After": wait}
        # draft-ietf-httpapi-ratelimit-headers-07: requests in the window, what is left of them, seconds until one is.
        limit, window = self.details["limit"], round(self.details["seconds"])
        return {
            "Retry-After": wait,
            "RateLimit-Policy": f"{limit};w={window}",
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": wait,
        }


def from_exception(error: BaseException) -> PaasError:
    """The error itself when it is ours, otherwise `internal_error` (which says nothing about it)."""
    return error if isinstance(error, PaasError) else PaasError("internal_error")

"""The one exception of this room: something that a person has to know, in a sentence that helps."""


class LaunchError(Exception):
    """What went wrong and what to do about it, in whole sentences without a stack trace.

    `details` are lines that explain it further, such as the last lines of a log.
    """

    def __init__(self, message: str, details: list[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []

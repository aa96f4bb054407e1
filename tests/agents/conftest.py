from tests.chat.conftest import ledger  # noqa: F401

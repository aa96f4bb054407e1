"""Packages that take long to import, imported by the first test that uses them: every worker collects every test."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """`messages = Lazy("langchain_core.messages")`: the module, once an attribute is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks whether it is a fixture
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)

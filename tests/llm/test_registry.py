from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from core.errors import PaasError
from llm.registry import PROVIDERS, ProviderRef, client_for, provider


@pytest.mark.parametrize("kind", PROVIDERS)
def test_every_row_leads_to_a_provider_of_its_kind(kind: str) -> None:
    assert provider(kind).kind == kind
    assert provider(kind) is provider(kind)


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(PaasError) as error:
        client_for(ProviderRef(uuid.uuid4(), "os.system"))
    assert error.value.code == "provider_not_configured"


def test_a_reference_hides_its_key() -> None:
    assert "sk-" not in repr(ProviderRef(uuid.uuid4(), "zhipu", api_key="sk-12345678"))


def test_langchain_is_not_imported_before_an_agent_needs_it() -> None:
    modules = [
        "llm.registry",
        "llm.wire",
        "llm.client",
        *sorted({path.rpartition(".")[0] for path in PROVIDERS.values()}),
    ]
    code = "import sys, importlib\nfor module in sys.argv[1:]:\n    importlib.import_module(module)\n"
    code += "    print(module, *[name for name in sys.modules if name.startswith('lang')])"
    run = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True)
    assert run.stdout.split() == modules


def test_providers_are_imported_when_they_are_used() -> None:
    code = "import sys, llm.registry; print('aiohttp' in sys.modules, 'llm.providers.zhipu' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[1] == "False"

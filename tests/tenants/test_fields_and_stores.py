"""Encrypted fields, cache keys and files: each is the bound tenant's, or is refused (P16, P17, A9, A10)."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.cache import cache, caches
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from core import crypto
from core.crypto import SecretUnreadable
from llm.models import ProviderAccount
from tenants import scope
from tenants.cache import make_key, tenant_key
from tenants.scope import TenantNotBound, bind
from tests.conftest import Platform, in_thread
from tests.files import no_files  # noqa: F401

SECRET = "sk-0123456789-not-to-be-seen"


# --- encrypted fields --------------------------------------------------------------------------------


@pytest.fixture
def account(db: Platform) -> Any:
    with bind(db.acme):
        made = ProviderAccount.objects.create(name="sealed", kind="scripted", api_key=SECRET)
    yield made
    with bind(db.acme):
        made.delete()


def stored(account: ProviderAccount) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM llm_provideraccount WHERE id = %s", [account.id])
        found: str = cursor.fetchone()[0]
        return found


def test_a_secret_is_sealed_at_rest_and_open_in_python(db: Platform, account: ProviderAccount) -> None:
    with bind(db.acme):
        sealed = stored(account)
        assert SECRET not in sealed
        assert ProviderAccount.objects.get(pk=account.pk).api_key == SECRET
        assert list(ProviderAccount.objects.filter(pk=account.pk).values_list("api_key", flat=True)) == [SECRET]
        account.save()
        assert stored(account) != sealed, "the same text sealed twice differs"


def test_another_tenants_key_does_not_open_it(db: Platform, account: ProviderAccount) -> None:
    with bind(db.acme):
        sealed = stored(account)
    with bind(db.globex):
        copy = ProviderAccount.objects.create(name="copied", kind="scripted")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE llm_provideraccount SET api_key = %s WHERE id = %s", [sealed, copy.id])
        with pytest.raises(SecretUnreadable):
            ProviderAccount.objects.get(pk=copy.pk)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM llm_provideraccount WHERE id = %s", [copy.id])


def test_without_a_tenant_it_neither_seals_nor_opens(db: Platform, account: ProviderAccount) -> None:
    field: Any = ProviderAccount._meta.get_field("api_key")
    with bind(db.acme):
        sealed = stored(account)
    for binding in (None, scope.PLATFORM):
        with scope.use(binding):
            with pytest.raises(TenantNotBound):
                field.from_db_value(sealed, None, connection)
            with pytest.raises(TenantNotBound):
                field.get_prep_value(SECRET)


def test_nothing_stays_nothing(platform: Platform) -> None:
    field: Any = ProviderAccount._meta.get_field("api_key")
    for value in ("", None):
        assert field.get_prep_value(value) == value
        assert field.from_db_value(value, None, connection) == value


def test_it_cannot_be_searched(platform: Platform) -> None:
    with bind(platform.acme):
        for lookup in ({"api_key": SECRET}, {"api_key__contains": "sk"}, {"api_key__in": [SECRET]}):
            with pytest.raises(TypeError, match="encrypted"):
                ProviderAccount.objects.filter(**lookup)
        ProviderAccount.objects.filter(api_key__isnull=True).count()


def test_each_tenant_has_a_data_key_of_its_own_under_the_platforms(platform: Platform) -> None:
    keys = {crypto.unwrap(settings.FIELD_KEYS, tenant.wrapped_key) for tenant in (platform.acme, platform.globex)}
    assert len(keys) == 2
    with pytest.raises(SecretUnreadable):
        crypto.unwrap([Fernet.generate_key().decode()], platform.acme.wrapped_key)


# --- cache -------------------------------------------------------------------------------------------


def test_threads_share_the_connections_of_the_cache(platform: Platform) -> None:
    """A request has a thread of its own, and opens no connection for that."""
    here: Any = caches["default"]
    there: Any = in_thread(lambda: caches["default"])
    assert there is not here
    assert there._cache._get_connection_pool(write=True) is here._cache._get_connection_pool(write=True)


def test_a_cache_key_names_its_owner(platform: Platform) -> None:
    with bind(platform.acme):
        assert make_key("x", "", 1) == f"t:{platform.acme.id.hex}:cache:1:x"
    with scope.platform():
        assert make_key("x", "", 1) == "platform:cache:1:x"
    with pytest.raises(TenantNotBound):
        make_key("x", "", 1)
    assert tenant_key(platform.acme, "run", 7) == f"t:{platform.acme.id.hex}:run:7"


@given(st.text(), st.text())
def test_no_key_of_one_tenant_is_another_tenants(first: str, second: str) -> None:
    a, b = scope.TenantRef(uuid.UUID(int=1), "a"), scope.TenantRef(uuid.UUID(int=2), "b")
    with bind(a):
        mine = make_key(first, "", 1)
    with bind(b):
        theirs = make_key(second, "", 1)
    with scope.platform():
        platforms = make_key(second, "", 1)
    assert len({mine, theirs, platforms}) == 3


async def test_the_same_key_is_a_different_value_for_each(db: Platform) -> None:
    async def use(tenant: scope.TenantRef) -> list[Any]:
        with bind(tenant):
            await cache.aset("who", tenant.slug, 60)
            await asyncio.sleep(0)
            return [
                await cache.aget("who"),
                await sync_to_async(cache.get)("who"),
                await asyncio.to_thread(cache.get, "who"),
                await scope.run_bound(cache.get, "who"),
                (await cache.aget_many(["who"]))["who"],
            ]

    mine, theirs = await asyncio.gather(use(db.acme), use(db.globex))
    assert set(mine) == {"acme"}
    assert set(theirs) == {"globex"}
    with scope.platform():
        assert await cache.aget("who") is None
    with bind(db.globex):
        await cache.adelete("who")
    with bind(db.acme):
        assert await cache.aget("who") == "acme"


# --- files -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_files")
def test_a_file_is_stored_in_its_tenants_folder(platform: Platform) -> None:
    names = {}
    for tenant in (platform.acme, platform.globex):
        with bind(tenant):
            names[tenant.slug] = default_storage.save("notes.txt", ContentFile(tenant.slug))
            assert names[tenant.slug].startswith(f"{tenant.id}/")
            with default_storage.open(names[tenant.slug]) as found:
                assert found.read() == tenant.slug.encode()
            assert default_storage.exists(names[tenant.slug])
            assert Path(default_storage.path(names[tenant.slug])).parent.name == str(tenant.id)
    with bind(platform.acme):
        again = default_storage.save(names["acme"], ContentFile("more"))
        assert again != names["acme"]
        assert again.startswith(f"{platform.acme.id}/")


FOREIGN = [
    "{globex}/notes.txt",
    "{acme}/../{globex}/notes.txt",
    "{acme}/x/../../{globex}/notes.txt",
    "./{globex}/notes.txt",
    "../notes.txt",
    "{acme}/../../settings.py",
    "/etc/passwd",
    "{acme}",
    "{acme}/..",
    "{acme}x/notes.txt",
    "notes.txt",
    "",
    ".",
]


@pytest.mark.usefixtures("no_files")
@pytest.mark.parametrize("name", FOREIGN)
def test_another_path_is_refused_for_every_use(platform: Platform, name: str) -> None:
    with bind(platform.globex):
        default_storage.save("notes.txt", ContentFile("globex"))
    name = name.format(acme=platform.acme.id, globex=platform.globex.id)
    with bind(platform.acme):
        for use in (
            default_storage.path,
            default_storage.open,
            default_storage.delete,
            default_storage.exists,
            default_storage.size,
            default_storage.listdir,
            default_storage.get_modified_time,
        ):
            with pytest.raises((SuspiciousFileOperation, ValueError)):
                use(name)


@pytest.mark.parametrize("name", ["../notes.txt", "{acme}/../{globex}/x", "a/../../b", "/etc/x", "{globex}/x"])
def test_nothing_is_written_elsewhere(platform: Platform, name: str) -> None:
    name = name.format(acme=platform.acme.id, globex=platform.globex.id)
    with bind(platform.acme):
        try:
            made = default_storage.save(name, ContentFile("x"))
        except SuspiciousFileOperation:
            return
        assert Path(default_storage.path(made)).is_relative_to(Path(settings.VAR_DIR) / "files" / str(platform.acme.id))


@given(st.text(max_size=80))
def test_no_name_leaves_the_tenants_folder(name: str) -> None:
    tenant = scope.TenantRef(uuid.UUID(int=3), "a")
    folder = Path(settings.VAR_DIR) / "files" / str(tenant.id)
    with bind(tenant):
        for candidate in (name, f"{tenant.id}/{name}"):
            try:
                path = Path(default_storage.path(candidate))
            except (SuspiciousFileOperation, ValueError):
                continue
            assert path.is_relative_to(folder)
            assert path != folder


def test_files_have_no_public_address(platform: Platform) -> None:
    with bind(platform.acme), pytest.raises(NotImplementedError):
        default_storage.url(f"{platform.acme.id}/notes.txt")

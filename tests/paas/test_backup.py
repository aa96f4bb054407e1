"""The drill: what was backed up is there again, whole, under the same protection, or it is said what is not (T25)."""

from __future__ import annotations

import io
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connections

from accounts import audit, keys
from accounts.models import AuditEvent, Membership, User
from core import clock
from llm.models import ProviderAccount
from llm.services import provider_create
from tenants import isolation, scope
from tenants.backup import load, tables, whole
from tenants.backup.archive import BackupError, Reader, Writer
from tenants.models import Plan, Tenant
from tests.conftest import Platform, in_thread
from tests.paas.restoring import contents, second_database, turned_to
from tests.services import Services
from tests.tenants import life
from tests.usage.entries import entry, seal
from usage.models import Seal, UsageRecord

SECRET = "sk-0123456789-of-a-vendor"


@pytest.fixture(autouse=True)
def _clean(db: Platform, services: Services) -> Iterator[None]:
    with life.cleaned(services):
        yield
    connections.close_all()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Backups are encrypted."""
    made = Fernet.generate_key().decode()
    monkeypatch.setenv("BACKUP_KEY", made)
    return made


def furnish(tenant: Any) -> str:
    """A sealed secret, a file, a key, sealed ledger entries and audit rows; returns the file's name."""
    for _ in range(3):
        entry(tenant)
    seal()
    entry(tenant)  # waits for its seal
    with scope.bind(tenant):
        provider_create(actor="test", name="vendor", kind="openai", api_key=SECRET)
        keys.key_create(name="k", scopes=["*"], actor="test")
        audit.record("test.happened", actor="test", text="one\ttwo\nthree\\")
        return str(default_storage.save("notes.txt", ContentFile(b"what was uploaded " * 9000)))


def shuffle_audit_log(services: Services) -> None:
    """The newest rows lie first on the disk: whoever numbered them anew as they come would number them otherwise."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("CREATE TEMP TABLE kept AS TABLE accounts_auditevent")
        admin.execute("DELETE FROM accounts_auditevent")
        admin.execute("INSERT INTO accounts_auditevent SELECT * FROM kept ORDER BY seq DESC")


def interrupted(*args: Any) -> Any:
    raise KeyboardInterrupt


def back_up(folder: Path, **options: Any) -> Path:
    call_command("backup", str(folder), verbosity=0, stdout=io.StringIO(), **options)
    (made,) = folder.glob("*.zip")
    return made


def restore(path: Path, **options: Any) -> str:
    said = io.StringIO()
    call_command("restore", str(path), stdout=said, **options)
    return said.getvalue()


def read(tenant: Any, name: str) -> tuple[str, bytes]:
    """The secret and the file that `furnish` left."""
    with scope.bind(tenant), default_storage.open(name) as file:
        return ProviderAccount.objects.get(name="vendor").api_key, file.read()


def test_everything_comes_back_into_an_empty_database(
    db: Platform, services: Services, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first attempt was killed: the second goes on."""
    name = furnish(db.acme)
    shuffle_audit_log(services)
    before, (secret, uploaded) = contents(services, "paas"), read(db.acme, name)
    backup = back_up(tmp_path)
    assert backup.stat().st_mode & 0o077 == 0
    raw = backup.read_bytes()
    assert all(
        text.encode() not in raw
        for text in (settings.FIELD_KEYS[0], settings.SECRET_KEY, SECRET, "acme.test", "uploaded")
    )
    shutil.rmtree(settings.VAR_DIR / "files")
    with second_database(services) as empty, turned_to(empty):
        assert "nothing stands in the way" in restore(backup, dry_run=True)
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(whole, "put", interrupted)
            restore(backup)
        with scope.platform():
            assert not Tenant.objects.exists()  # until all is in, the platform knows nobody
        assert "chains, counters, secrets and files are as they were" in restore(backup)
        assert contents(services, empty) == before
        assert read(db.acme, name) == (secret, uploaded)
        assert secret == SECRET
        with psycopg.connect(settings.HOT_DATABASE_CONNINFO, autocommit=True) as login:
            assert isolation.gaps(login) == []
        with scope.bind(db.acme):
            audit.record("test.later", actor="test")  # the chain goes on
        with pytest.raises(CommandError, match="restore into an empty database"):
            restore(backup)
        call_command("verify_audit", stdout=io.StringIO())


@pytest.mark.exhaustive
def test_one_tenant_comes_into_another_installation(
    db: Platform, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of a backup of everything; people are found by address, and nobody becomes an operator."""
    name = furnish(db.acme)
    with scope.platform():
        User.objects.filter(email="admin@acme.test").update(is_staff=True, is_superuser=True)
    backup = back_up(tmp_path)
    shutil.rmtree(settings.VAR_DIR / "files")
    with second_database(services) as other, turned_to(other):
        with pytest.raises(CommandError, match="no plan 'pro' here"):
            restore(backup, tenant="acme")
        with scope.platform():
            Plan.objects.create(slug="pro", name="Pro")
            known = User.objects.create_user("Member@acme.test".lower())
            other_tenant = Tenant(slug="acme", name="Another", plan_id="pro")
            other_tenant.save(force_insert=True)
        with monkeypatch.context() as elsewhere, pytest.raises(CommandError, match="No key of FIELD_KEYS opens"):
            elsewhere.setattr(settings, "FIELD_KEYS", [Fernet.generate_key().decode()])
            restore(backup, tenant="acme", to="acme-again")
        with pytest.raises(CommandError, match="'acme' cannot be had"):
            restore(backup, tenant="acme")
        said = restore(backup, tenant="acme", to="acme-again", dry_run=True)
        assert "would be restored: 1 people are known, 3 are new" in said
        assert "1 files" in said
        assert not (settings.VAR_DIR / "files").exists() or not any((settings.VAR_DIR / "files").iterdir())
        assert "are as they were backed up" in restore(backup, tenant="acme", to="acme-again")
        assert read(db.acme, name)[0] == SECRET
        with scope.platform():
            assert Membership.objects.get(tenant_id=db.acme.id, role="member").user_id == known.id
            assert not User.objects.filter(is_staff=True).exists()
            assert set(AuditEvent.objects.filter(action="tenant.restored_from_backup").values_list("tenant_id", flat=True)) == {
                db.acme.id, None
            }  # fmt: skip
            assert UsageRecord.objects.count() == 4
            assert Seal.objects.count() == 3
        with pytest.raises(CommandError, match="is here and active: restoring would overwrite it"):
            restore(backup, tenant="acme")


@pytest.mark.exhaustive
def test_a_tenant_that_was_erased_comes_back_to_its_tombstone(db: Platform, services: Services, tmp_path: Path) -> None:
    tenant = life.made("leaving")
    name = furnish(tenant.ref())
    with scope.platform():
        Tenant.objects.filter(pk=tenant.pk).update(status="deleting", step="active", delete_after=clock.now())
    backup = back_up(tmp_path, tenant="leaving")
    entry(tenant.ref())  # the ledger goes on after the backup
    with scope.platform():
        Tenant.objects.filter(pk=tenant.pk).update(status="deleted", step="access")
        life.erase(tenant.pk)
    assert life.about(services, tenant) == ["deleted"]
    others = settings.VAR_DIR / "files" / str(tenant.pk) / "others.txt"
    others.parent.mkdir(parents=True)
    others.write_text("of somebody")
    with pytest.raises(CommandError, match="There are files in"):
        restore(backup, tenant="leaving")
    assert others.read_text() == "of somebody"
    assert life.about(services, tenant) == ["deleted"]
    shutil.rmtree(others.parent)
    said = restore(backup, tenant="leaving")
    assert "back at its tombstone" in said
    assert "so it is suspended" in said
    assert life.about(services, tenant) == ["role", "schema", "suspended"]
    assert read(life.fresh(tenant).ref(), name)[0] == SECRET
    with scope.platform():
        assert UsageRecord.objects.filter(tenant=tenant).count() == 5  # 4 of the backup, 1 since


def test_what_is_damaged_is_not_restored(db: Platform, services: Services, tmp_path: Path, key: str) -> None:
    furnish(db.acme)
    backup = back_up(tmp_path, tenant="acme")
    with zipfile.ZipFile(backup) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    file = next(part for part in parts if part.startswith("files/"))
    damages = {
        "changed": {file: parts[file][:-1] + bytes([parts[file][-1] ^ 1])},
        "cut off": {file: parts[file][:-20]},
        "exchanged": {file: parts["tables/public/accounts_user.copy"]},
    }
    for damage, changed in damages.items():
        bad = tmp_path / f"{damage}.zip"
        with zipfile.ZipFile(bad, "w") as archive:
            for part, data in (parts | changed).items():
                archive.writestr(part, data)
        with pytest.raises(CommandError, match="does not open"):
            restore(bad, tenant="acme", dry_run=True)


def test_who_has_not_the_key_reads_nothing(
    db: Platform, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(tmp_path, tenant="acme")
    monkeypatch.setenv("BACKUP_KEY", Fernet.generate_key().decode())
    with pytest.raises(CommandError, match="does not open"):
        restore(backup, tenant="acme", dry_run=True)
    monkeypatch.setenv("BACKUP_KEY", "")
    with pytest.raises(CommandError, match=r"is encrypted\. Set BACKUP_KEY"):
        restore(backup, tenant="acme", dry_run=True)
    monkeypatch.setenv("BACKUP_KEY", settings.FIELD_KEYS[0])
    with pytest.raises(CommandError, match="Use a key of its own"):
        back_up(tmp_path)
    monkeypatch.setenv("BACKUP_KEY", "short")
    with pytest.raises(CommandError, match="BACKUP_KEY cannot be used"):
        back_up(tmp_path)


def test_what_is_written_meanwhile_is_not_half_in_it(
    db: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables are of one moment, though each tenant's are read by a connection of their own."""
    from tenants.backup import take

    copy = take._schema

    def late(*args: Any) -> Any:
        with scope.bind(db.acme):
            provider_create(actor="test", name="late", kind="scripted")
        monkeypatch.setattr(take, "_schema", copy)
        return copy(*args)

    monkeypatch.setattr(take, "_schema", late)
    with Reader(back_up(tmp_path), None) as archive:
        rows = {fact["part"]: fact["rows"] for fact in archive.manifest["tables"]}
    assert rows[f"tables/{db.acme.schema}/llm_provideraccount.copy"] == 1
    assert rows["tables/public/accounts_auditevent.copy"] == 0


def test_a_file_stays_in_its_tenants_folder(db: Platform, tmp_path: Path) -> None:
    tenant = str(uuid.uuid4())
    part = f"files/{tenant}/../../escaped"
    with Writer(tmp_path / "bad.zip", None) as archive:
        with archive.entry(part) as entry_:
            entry_.write(b"x")
        archive.finish({"files": [{"part": part, "tenant": tenant} | entry_.facts()], "tables": []})
    with Reader(tmp_path / "bad.zip", None) as archive, pytest.raises(BackupError, match="is no place for a file"):
        load.write_files(archive, tenant)
    assert not (settings.VAR_DIR / "escaped").exists()


def test_a_tenant_between_two_releases_is_told_and_not_restored(
    db: Platform, services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rename = f"UPDATE {db.acme.schema}.django_migrations SET app = %s WHERE app = %s"
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
        admin.execute(rename.encode(), ["later", "llm"])
        try:
            call_command("backup", str(tmp_path))
        finally:
            admin.execute(rename.encode(), ["llm", "later"])
    assert "acme has other migrations than new tenants get" in capsys.readouterr().out
    (made,) = tmp_path.glob("*.zip")
    with pytest.raises(CommandError, match="while migrations were rolled out: acme had others"):
        restore(made, tenant="acme")
    with pytest.raises(CommandError, match="is here and active"):
        restore(made, tenant="globex")


def test_half_a_backup_has_no_name(db: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenants.backup import take

    def fails(*args: Any) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(take, "_schema", fails)
    with pytest.raises(CommandError, match="There is no backup: the disk is full"):
        call_command("backup", str(tmp_path), verbosity=0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken.zip").write_text("of somebody")
    with pytest.raises(CommandError, match="exists already"):
        call_command("backup", str(tmp_path / "taken.zip"), verbosity=0)
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        call_command("backup", str(tmp_path), tenant="nobody", verbosity=0)


async def test_the_console_says_how_old_the_last_backup_is(site: Any, db: Platform) -> None:
    def operator() -> None:
        with scope.platform():
            User.objects.filter(email="owner@acme.test").update(is_staff=True, is_superuser=True)

    def made() -> None:
        with scope.platform():
            audit.record("backup.made", actor="test", target="x.zip")

    in_thread(operator)
    client = await site.signed_in_on_platform("owner@acme.test")
    for before, said in ((lambda: None, "Never backed up"), (made, "Backup 0")):
        in_thread(before)
        async with client.get("/admin/tenants/plan/") as answer:
            assert said in (await answer.text()).replace("\xa0", " ")
    async with site.client().get("/admin/login/") as answer:
        assert "ackup" not in await answer.text()


def test_every_key_to_a_person_is_known() -> None:
    """A shared table of tenants that points to people names them in `tables.PEOPLE`, or stays behind."""
    from django.apps import apps

    found = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        if any(field.related_model is Tenant for field in model._meta.concrete_fields)
        for field in model._meta.concrete_fields
        if field.related_model is User and model._meta.db_table not in tables.LEFT_BEHIND
    }
    assert found == set(tables.PEOPLE)

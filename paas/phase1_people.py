"""The tenant, people, API keys and quotas of a Phase 2 file."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, imported_keys, services
from accounts.hashers import imported_password
from accounts.models import ApiKey, Membership, Role, User
from accounts.policies import SCOPES
from core.errors import PaasError
from paas.phase1_file import BadRow, Phase1File, Row
from paas.phase1_report import IMPORTED, PRESENT, Report
from tenants import provisioning, scope
from tenants.models import Plan, Tenant

ACTOR = "command:import_phase1"
ROLES = {"admin": Role.ADMIN, "user": Role.MEMBER, "viewer": Role.VIEWER}
LIMITS = {
    "max_users": "max_users", "max_agents": "max_agents", "max_sessions_per_day": "sessions_per_day",
    "max_tokens_per_month": "tokens_per_month",
}  # fmt: skip
SOME_SHA256 = (
    "The keys were taken over as SHA-256 of the token, which the file does not say. Try one; where it is refused with "
    "401, its hash was another one (an HMAC, say), and it has to be rotated."
)


@dataclass
class People:
    """Who came with the file: the person and the API key behind each id there."""

    users: dict[uuid.UUID, User] = field(default_factory=dict)
    keys: list[ApiKey] = field(default_factory=list)


def tenant_row(slug: str, source: dict[str, Any] | None, report: Report) -> Tenant:
    """The tenant to import into, locked; made where there is none, as the file names it. Raises ValidationError."""
    found: Tenant | None = Tenant.objects.select_for_update(no_key=True).filter(slug=slug).first()
    if found is not None:
        return found
    plan = str(source["plan"]) if source and Plan.objects.filter(slug=str(source["plan"])).exists() else "free"
    name = str((source or {}).get("display_name") or (source or {}).get("name") or slug)[:120]
    tenant = provisioning.tenant_create(slug=slug, name=name, plan=plan)
    with scope.bind(tenant.ref()):
        audit.record("tenant.created", actor=ACTOR, target=slug, plan=plan)
    report.notes.append(f"The tenant {slug} {'would be' if report.dry_run else 'was'} made, on the plan {plan}.")
    return tenant


def import_quotas(file: Phase1File, source: str, tenant: Tenant, report: Report) -> None:
    """The file's limits as a plan of the tenant's own, once: what an operator changes later stays."""
    report.begin("tenant_quotas", file.count("tenant_quotas", source))
    slug = f"phase1-{tenant.id.hex[:12]}"
    for row in report.read(file.rows("tenant_quotas", source), "tenant_quotas"):
        plan = Plan.objects.get(pk=tenant.plan_id)
        if Plan.objects.filter(slug=slug).exists():
            report.add("tenant_quotas", PRESENT)
            continue
        try:
            wanted = {ours: row.count(theirs) for theirs, ours in LIMITS.items() if row.columns[theirs] is not None}
            if any(value >= 2**31 for name, value in wanted.items() if name != "tokens_per_month"):
                raise BadRow("a limit is larger than any that can be stored")
        except BadRow as bad:
            report.refuse(row, str(bad))
            continue
        if used := row.columns.get("current_month_tokens"):
            report.notes.append(f"{used:,} tokens of this month were used there; here the month begins at zero.")
        if all(getattr(plan, name) == value for name, value in wanted.items()):
            report.add("tenant_quotas", PRESENT)
            continue
        former = plan.name
        plan.slug, plan.name = slug, f"{tenant.name} (Phase 1)"[:80]
        for name, value in wanted.items():
            setattr(plan, name, value)
        plan.save(force_insert=True)
        Tenant.objects.filter(pk=tenant.pk).update(plan=plan)
        tenant.plan = plan
        with scope.platform_about(tenant.ref()):
            audit.record("tenant.updated", actor=ACTOR, target=tenant.slug, plan=slug)
        report.notes.append(f"The tenant has a plan of its own: {former}, with the limits of the file.")
        report.add("tenant_quotas", IMPORTED)


def import_users(file: Phase1File, source: str, tenant: Tenant, report: Report, people: People) -> None:
    """People with their old passwords. Who is known to the platform keeps their password here; members their role."""
    report.begin("users", file.count("users", source))
    for row in report.read(file.rows("users", source, "created_at"), "users"):
        try:
            with transaction.atomic():
                _import_user(row, tenant, report, people)
        except BadRow as bad:
            report.refuse(row, str(bad))
        except PaasError as error:
            report.refuse(row, error.message)
        except ValidationError as error:
            report.refuse(row, " ".join(error.messages))
    members = Membership.objects.filter(tenant=tenant)
    if members.exists() and not members.filter(role=Role.OWNER).exists():
        first = members.filter(role=Role.ADMIN).order_by("created_at", "id").select_related("user").first()
        if first is None:
            report.notes.append("Nobody owns the tenant: name an owner with `manage.py apply`.")
            return
        services.member_set(tenant=tenant, email=first.user.email, role=Role.OWNER, password=None, actor=ACTOR)
        report.notes.append(f"{first.user.email} is the owner: the first admin of a tenant that had none.")


def _import_user(row: Row, tenant: Tenant, report: Report, people: People) -> None:
    user_id, email, role = row.id_of(), row.text("email", most=254).strip().lower(), row.one_of("role", tuple(ROLES))
    password, created_at = imported_password(row.text("password_hash")), row.moment("created_at")
    last_login = row.optional_moment("last_login_at")
    if password is None:
        raise BadRow("password_hash is no bcrypt hash of a cost from 4 to 14")
    if user_id in people.users:
        raise BadRow("this id is in the file twice")
    user = User.objects.filter(email=email).first()
    if user is not None and Membership.objects.filter(tenant=tenant, user=user).exists():
        people.users[user_id] = user
        report.add("users", PRESENT)
        return
    if row.text("status") != "active":
        raise BadRow(f"the person is {row.text('status')[:40]}, and only active ones are let in")
    known = user is not None
    services.member_set(tenant=tenant, email=email, role=ROLES[role], password=None, actor=ACTOR)
    user = User.objects.get(email=email)
    if known:
        report.notes.append(f"{email} is known to the platform and keeps the password here.")
    else:
        User.objects.filter(pk=user.pk).update(password=password, created_at=created_at, last_login=last_login)
    people.users[user_id] = user
    report.add("users", IMPORTED)


def import_keys(file: Phase1File, source: str, tenant: Tenant, report: Report, people: People) -> None:
    """API keys whose stored hash is a SHA-256 go on working; the others are named, to be made anew."""
    report.begin("api_keys", file.count("api_keys", source))
    seen: set[uuid.UUID] = set()
    for row in report.read(file.rows("api_keys", source), "api_keys"):
        try:
            with transaction.atomic():
                _import_key(row, tenant, report, people, seen)
        except BadRow as bad:
            report.refuse(row, str(bad))
        except ValidationError as error:
            report.refuse(row, " ".join(error.messages))
    if report.keys_taken_over:
        report.notes.append(SOME_SHA256)


def _import_key(row: Row, tenant: Tenant, report: Report, people: People, seen: set[uuid.UUID]) -> None:
    key_id, name, theirs = row.id_of(), row.text("name", most=80).strip(), row.json("scopes", list)
    user_id, expires_at = row.optional_id_of("user_id"), row.optional_moment("expires_at")
    last_used_at = row.optional_moment("last_used_at")
    if key_id in seen:
        raise BadRow("this id is in the file twice")
    seen.add(key_id)
    words = [str(word).replace("agent:", "agents:", 1) for word in theirs]
    scopes = [word for word in dict.fromkeys(words) if word in SCOPES]
    if not scopes:
        raise BadRow("none of its scopes is known here")
    if dropped := [word for word in words if word not in SCOPES]:
        report.notes.append(f"API key {name}: left out the scopes {', '.join(dropped)[:200]}.")
    if user_id is not None and user_id not in people.users:
        raise BadRow("its person was not imported")
    found = ApiKey.objects.filter(pk=key_id).first()
    if found is not None:
        if found.tenant_id != tenant.id:
            raise BadRow("another tenant has a key with this id")
        people.keys.append(found)
        report.add("api_keys", PRESENT)
        return
    sha256 = imported_keys.sha256_of(row.text("key_hash"))
    if sha256 is None:
        reason = "its hash cannot be looked up; only a SHA-256 can"
        report.keys_anew.append({"id": str(key_id), "name": name, "scopes": scopes, "reason": reason})
        return
    if ApiKey.objects.filter(tenant=tenant, digest=imported_keys.stored_digest(sha256)).exists():
        raise BadRow("its hash is another key's")
    if ApiKey.objects.filter(tenant=tenant, name=name, revoked_at=None).exists():
        raise BadRow(f"there is a key named {name} already")
    with scope.platform_about(tenant.ref()):
        key = imported_keys.key_import(
            key_id=key_id,
            name=name,
            sha256=sha256,
            scopes=scopes,
            created_by=people.users[user_id].pk if user_id is not None else None,
            expires_at=expires_at,
            actor=ACTOR,
        )
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=last_used_at)
    people.keys.append(key)
    report.keys_taken_over.append(name)
    report.add("api_keys", IMPORTED)

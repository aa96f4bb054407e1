"""Configuration as code: the YAML file that `manage.py apply` takes, checked whole before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import yaml

Fields = dict[str, Any]


class DeclarationError(Exception):
    """The file is not a declaration; the message has one line per mistake, each with its place."""


@dataclass(frozen=True, slots=True)
class TenantDeclaration:
    """One tenant as the file wants it."""

    slug: str
    name: str | None  # None: as it is, and the slug for a new one
    plan: str | None  # None: as it is, and "free" for a new one
    members: list[Fields] = field(default_factory=list)
    providers: list[Fields] = field(default_factory=list)
    knowledge: list[Fields] = field(default_factory=list)
    agents: list[Fields] = field(default_factory=list)
    api_keys: list[Fields] = field(default_factory=list)
    limits: list[Fields] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Declaration:
    """The whole file."""

    tenants: list[TenantDeclaration]
    operators: list[Fields]
    platform_providers: list[Fields] = field(default_factory=list)


# section -> {field: (type, needed)}
_SECTIONS: dict[str, dict[str, tuple[type | tuple[type, ...], bool]]] = {
    "operators": {"email": (str, True), "password": (str, False)},
    "members": {"email": (str, True), "role": (str, True), "password": (str, False), "name": (str, False)},
    "providers": {
        "name": (str, True),
        "kind": (str, True),
        "base_url": (str, False),
        "api_key": (str, False),
        "models": (dict, False),
        "allowed_models": (list, False),
        "enabled": (bool, False),
    },
    "platform_providers": {
        "name": (str, True),
        "kind": (str, True),
        "base_url": (str, False),
        "api_key": (str, False),
        "models": (dict, False),
        "allowed_models": (list, False),
        "plans": (list, True),
        "enabled": (bool, False),
    },
    "agents": {
        "slug": (str, True),
        "name": (str, False),
        "description": (str, False),
        "provider": (str, False),
        "model": (str, False),
        "instructions": (str, False),
        "parameters": (dict, False),
        "tools": (list, False),
        "limits": (dict, False),
        "memory": (bool, False),
        "knowledge": (list, False),
        "rewrite_queries": (bool, False),
        "output_schema": (dict, False),
        "team": (dict, False),
    },
    "knowledge": {
        "slug": (str, True),
        "name": (str, False),
        "description": (str, False),
        "provider": (str, False),
        "model": (str, False),
        "dimension": (int, False),
        "chunk_size": (int, False),
        "chunk_overlap": (int, False),
        "ocr": (str, False),
        "ocr_chars": (int, False),
        "vector_weight": ((int, float), False),
        "keyword_weight": ((int, float), False),
        "top_k": (int, False),
        "reranker": (str, False),
        "rerank_model": (str, False),
        "neighbours": (bool, False),
        "access": (str, False),
        "roles": (list, False),
        "people": (list, False),
    },
    "api_keys": {
        "name": (str, True),
        "scopes": (list, True),
        "token": (str, False),
        "parent": (str, False),
        "agents": (list, False),
        "models": (list, False),
        "networks": (list, False),
        "tokens_per_month": (int, False),
        "expires_at": (date, False),
    },
    "limits": {
        "member": (str, False),
        "api_key": (str, False),
        "agent": (str, False),
        "metric": (str, True),
        "period": (str, False),
        "currency": (str, False),
        "limit": ((int, str), True),
    },
}
_TENANT_TEXTS = {"slug": True, "name": False, "plan": False}


def read(path: Path) -> Declaration:
    """The declaration in a file. Raises DeclarationError."""
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path} is not YAML: {error}") from None
    return parse(found)


def parse(found: Any) -> Declaration:
    """The declaration in parsed YAML. Raises DeclarationError with every mistake."""
    mistakes: list[str] = []
    if not isinstance(found, dict):
        raise DeclarationError("The file must have `tenants:`, a list.")
    _unknown(found, {"tenants", "operators", "platform"}, "", mistakes)
    platform = found.get("platform") or {}
    if not isinstance(platform, dict):
        mistakes.append("platform: must be a mapping")
        platform = {}
    _unknown(platform, {"providers"}, "platform", mistakes)
    shared = _section(platform, "providers", "platform.providers", mistakes, fields="platform_providers")
    operators = _section(found, "operators", "operators", mistakes)
    tenants: list[TenantDeclaration] = []
    for position, entry in enumerate(_list(found, "tenants", "tenants", mistakes)):
        where = f"tenants[{position}]"
        if not isinstance(entry, dict):
            mistakes.append(f"{where}: must be a mapping")
            continue
        tenants.append(_tenant(entry, where, mistakes))
    slugs = [tenant.slug for tenant in tenants]
    mistakes += [f"tenants: {slug} is there twice" for slug in sorted(set(slugs)) if slugs.count(slug) > 1]
    if mistakes:
        raise DeclarationError("\n".join(mistakes))
    return Declaration(tenants, operators, shared)


def _tenant(entry: Fields, where: str, mistakes: list[str]) -> TenantDeclaration:
    sections = {"members", "providers", "knowledge", "agents", "api_keys", "limits"}
    _unknown(entry, sections | set(_TENANT_TEXTS), where, mistakes)
    for name, needed in _TENANT_TEXTS.items():
        _field(entry, name, str, needed, where, mistakes)
    slug = str(entry.get("slug", ""))
    return TenantDeclaration(
        slug=slug,
        name=entry.get("name"),
        plan=entry.get("plan"),
        **{name: _section(entry, name, f"{where}.{name}", mistakes) for name in sections},
    )


def _section(found: Fields, name: str, where: str, mistakes: list[str], *, fields: str = "") -> list[Fields]:
    known = _SECTIONS[fields or name]
    rows: list[Fields] = []
    for position, entry in enumerate(_list(found, name, where, mistakes)):
        place = f"{where}[{position}]"
        if not isinstance(entry, dict):
            mistakes.append(f"{place}: must be a mapping")
            continue
        _unknown(entry, set(known), place, mistakes)
        for key, (kind, needed) in known.items():
            _field(entry, key, kind, needed, place, mistakes)
        if name == "agents":
            _model(entry, place, mistakes)
        rows.append(entry)
    return rows


def _model(entry: Fields, place: str, mistakes: list[str]) -> None:
    """Only a team without a supervisor asks no model of its own."""
    team = entry.get("team")
    if not team or not isinstance(team, dict) or team.get("mode") == "supervisor":
        mistakes += [f"{place}.{key}: is needed" for key in ("provider", "model") if entry.get(key) is None]


def _list(found: Fields, name: str, where: str, mistakes: list[str]) -> list[Any]:
    value = found.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        mistakes.append(f"{where}: must be a list")
        return []
    return value


def _field(
    entry: Fields, name: str, kind: type | tuple[type, ...], needed: bool, where: str, mistakes: list[str]
) -> None:
    value = entry.get(name)
    if value is None:
        if needed:
            mistakes.append(f"{where}.{name}: is needed")
    elif not isinstance(value, kind) or (kind in (int, (int, str), (int, float)) and isinstance(value, bool)):
        expected = {
            str: "a text",
            dict: "a mapping",
            list: "a list",
            bool: "true or false",
            int: "a whole number",
            date: "a date, or a date and time",
            (int, float): "a number",
            (int, str): 'a whole number, or an amount in quotes such as "12.50"',
        }[kind]
        mistakes.append(f"{where}.{name}: must be {expected}")


def _unknown(entry: Fields, known: set[str], where: str, mistakes: list[str]) -> None:
    prefix = f"{where}." if where else ""
    mistakes += [f"{prefix}{name}: is not known here" for name in sorted(set(map(str, entry)) - known)]


def moment(value: date) -> datetime:
    """A date of the file as a moment: by itself the end of that day, and without a zone, in UTC."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time.max, UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)

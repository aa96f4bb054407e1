"""How fast passages are found among many, and how many of the exact ten nearest."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from bench.knowledge.load import Loaded, loaded
from bench.knowledge.place import superuser

ROUNDS = 60
TOP = 10
# name -> (tags, metadata): all passages, one in a hundred, one in two thousand or one document.
FILTERS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "all": ((), {}),
    "99%": (("usual",), {}),
    "1%": (("rare",), {}),
    "one document": ((), {"number": 42}),
}
WAYS = {"both": (0.7, 0.3), "vectors": (1.0, 0.0), "words": (0.0, 1.0)}


def speed(actor: Any, chunks: int, dimension: int, explain: bool) -> dict[str, Any]:
    """Milliseconds of the whole call (planning, statement, JSON) and recall@10 of the vectors' part."""
    from knowledge.search import Question

    admin = superuser(actor.tenant)
    many = loaded(admin, chunks, dimension)
    report: dict[str, Any] = {"chunks": chunks, "dimension": dimension, "loading_s": many.seconds}
    chance = random.Random(11)
    asked = [many.made.question(*chance.choice(many.near)) for _ in range(ROUNDS)]
    for name, (tags, metadata) in FILTERS.items():
        report[name] = {}
        for way, (near, words) in WAYS.items():
            spent, shares, processor = [], [], _processor()
            for number, (query, vector) in enumerate(asked):
                question = Question(query, TOP, near, words, tags, metadata)
                begun = time.perf_counter()
                found = _ask(actor, many, question, vector if near else None)
                spent.append((time.perf_counter() - begun) * 1000)
                if way == "vectors" and number < ROUNDS // 2:
                    shares.append(_recall(admin, many, question, vector, found))
            used = {"cpu_ms": round((_processor() - processor) / ROUNDS, 1)} if way != "vectors" else {}
            report[name][way] = (
                _times(spent) | used | ({"recall@10": round(sum(shares) / len(shares), 3)} if shares else {})
            )
        if explain:
            question = Question(asked[0][0], TOP, tags=tags, metadata=metadata)
            report[name]["plan"] = _plan(admin, actor, many, question, asked[0][1])
    return report | {"load_average": [round(one, 2) for one in os.getloadavg()]}


def _ask(actor: Any, many: Loaded, question: Any, vector: list[float] | None) -> list[dict[str, Any]]:
    from knowledge import search

    return search._found(actor, [many.base], question, vector)


def _processor() -> float:
    """Milliseconds of processor that the connection's server process has used: what a busy machine changes least."""
    from django.db import connection

    raw: Any = connection.connection
    stat = Path(f"/proc/{raw.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _times(spent: list[float]) -> dict[str, float]:
    ordered = sorted(spent)
    names = {"p50_ms": 50, "p95_ms": 95}
    return {name: round(ordered[len(ordered) * share // 100], 1) for name, share in names.items()}


def _recall(admin: Any, many: Loaded, question: Any, vector: list[float], found: list[dict[str, Any]]) -> float:
    """The share of the ten nearest, by the exact order, that are found."""
    from knowledge.fields import as_text

    rows = admin.execute(
        "SELECT c.id::text FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id "
        "WHERE c.base_id = %s AND d.tags @> %s::jsonb AND d.metadata @> %s::jsonb "
        "ORDER BY (c.embedding OPERATOR(public.<=>) %s::public.halfvec) + 0 LIMIT %s",
        [many.base.id, json.dumps(question.tags), json.dumps(question.metadata), as_text(vector), TOP],
    )
    exact = {row[0] for row in rows}
    return len({one["chunk_id"] for one in found} & exact) / max(len(exact), 1)


def _plan(admin: Any, actor: Any, many: Loaded, question: Any, vector: list[float]) -> list[str]:
    """The parts of the statement: milliseconds, rows, and pages that were there or had to be read."""
    from knowledge import search

    name = "knowledge_find(uuid[], jsonb, text)"
    admin.execute(f"ALTER FUNCTION {name} VOLATILE")  # no other one may explain
    call = search._call(actor, [many.base], question, vector, explain=True)
    (told,) = admin.execute(*call.query.sql_with_params()).fetchone()
    admin.execute(f"ALTER FUNCTION {name} STABLE")
    lines = [f"planning {told[0]['Planning Time']} ms, execution {told[0]['Execution Time']} ms"]
    _parts(told[0]["Plan"], 0, lines)
    return lines


def _parts(node: dict[str, Any], depth: int, lines: list[str]) -> None:
    names = ("Node Type", "Subplan Name", "Index Name", "Relation Name", "CTE Name")
    about = " ".join(str(node[name]) for name in names if name in node)
    counts = f"rows {node['Actual Rows']:.0f} x {node['Actual Loops']:.0f}, {node['Actual Total Time']:.1f} ms"
    pages = f"pages {node['Shared Hit Blocks']} + {node['Shared Read Blocks']} read"
    lines.append(f"{'  ' * depth}{about}: {counts}, {pages}")
    for one in node.get("Plans", []):
        _parts(one, depth + 1, lines)

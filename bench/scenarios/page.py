"""The report: as a page that needs nothing beside itself, and as Markdown."""

from __future__ import annotations

from html import escape
from typing import Any

from bench.scenarios.charts import svg
from bench.scenarios.result import Result

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe3e8;--paper:#fff;--good:#1a7f4b;--bad:#b3261e;--none:#7a6200;
--c0:#2f6fde;--c1:#d9772b;--c2:#2a9d74;--c3:#8a4fd0}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#a3adba;--line:#333b46;--paper:#161a20;--good:#5fd08f;
--bad:#ff8a80;--none:#e0c15a;--c0:#78a6ff;--c1:#ffae70;--c2:#65d6ab;--c3:#c19bff}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:960px;margin:2rem auto;
padding:0 1rem}h1{font-size:1.6rem;margin:0}h2{margin:2.5rem 0 .2rem;font-size:1.2rem}p{margin:.3rem 0}
.soft,.none{color:var(--soft)}table{border-collapse:collapse;width:100%;margin:.8rem 0}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td:nth-child(2){font-variant-numeric:tabular-nums}.PASS{color:var(--good)}.FAIL{color:var(--bad)}.NOT{color:var(--none)}
.PASS,.FAIL,.NOT{font-weight:600;white-space:nowrap}.charts{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}figure{margin:0}figcaption{color:var(--soft)}
svg{width:100%;height:auto}svg text{font:13px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}
.line{fill:none;stroke-width:1.8}.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}
.line.c3{stroke:var(--c3)}rect.c0{fill:var(--c0)}rect.c1{fill:var(--c1)}rect.c2{fill:var(--c2)}rect.c3{fill:var(--c3)}
"""


def conditions(report: dict[str, Any]) -> str:
    """The machine, the commit and the load that the figures belong to, as a sentence."""
    machine = report["machine"]
    return (
        f"{report['at']}, `{report['command']}` at {machine['commit']}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, load "
        f"{machine['load_average'][0]} before. Platform, stand-in vendor and generator share the machine."
    )


def markdown(report: dict[str, Any], results: list[Result]) -> str:
    """Verdicts of all, then the figures of each."""
    lines = ["# Scenarios", "", conditions(report), "", "| scenario | target | measured | |", "|---|---|--:|---|"]
    for result in results:
        if result.failed:
            lines.append(f"| {result.name} | | {_cell(result.failed)} | NOT MEASURED |")
        lines += [f"| {result.name} | {one.target} | {one.measured} | {one.result} |" for one in result.verdicts]
    for result in results:
        lines += ["", f"## {result.name}", "", f"{result.told} ({result.seconds:g} s)", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_cell(said(value))} |" for name, value in result.figures.items()]
    return "\n".join([*lines, ""])


def html(report: dict[str, Any], results: list[Result]) -> str:
    """The same with charts, in one file."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Scenarios, {escape(report['machine']['commit'])}</title><style>{STYLE}</style>",
        f"<h1>Scenarios</h1><p class=soft>{escape(conditions(report).replace('`', ''))}</p>",
        *(_section(result) for result in results),
    ]
    return "\n".join([*parts, "</html>", ""])


def _section(result: Result) -> str:
    failed = f"<p class=FAIL>{escape(result.failed)}</p>" if result.failed else ""
    verdicts = "".join(
        f"<tr><td>{escape(one.target)}<td>{escape(one.measured)}<td class='{escape(one.result)}'>{escape(one.result)}"
        for one in result.verdicts
    )
    figures = "".join(f"<tr><td>{escape(name)}<td>{escape(said(value))}" for name, value in result.figures.items())
    return (
        f"<h2 id={escape(result.name)}>{escape(result.name)}</h2>"
        f"<p class=soft>{escape(result.told.replace('`', ''))} ({result.seconds:g} s)</p>{failed}"
        f"<table><tr><th>Target<th>Measured<th>{verdicts}</table>"
        f"<div class=charts>{''.join(map(svg, result.charts))}</div>"
        f"<table><tr><th>Figure<th>{figures}</table>"
    )


def said(value: Any) -> str:
    """A figure for people: several values with slashes, several names with commas."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {said(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " / ".join(said(one) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

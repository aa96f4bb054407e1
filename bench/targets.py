"""What the platform must reach, and whether a set of measurements does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RELAY_RATIO = 15.0
"""Chunks per second, unpaced, as a multiple of LiteLLM's in the same run."""
NONSTREAM_RATIO = 5.0
"""Non-streamed answers per second, as a multiple of LiteLLM's."""
PACED_TTFT_MS = 80.0
"""Median time to first token of 50 paced streams, above the vendor's own."""
ALONE_TTFT_MS = 10.0
"""Time to first token of one stream alone, above the vendor's own."""
MEMORY_MB = 220.0
"""Peak resident memory of the web process."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of one subject. `failed` counts wrong answers; memory is in MB (10^6 bytes)."""

    chunks_per_s: float
    paced_ttft_ms: float
    alone_ttft_ms: float
    requests_per_s: float
    failed: int
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what was asked, what was measured, and PASS, FAIL or NOT MEASURED."""

    target: str
    measured: str
    result: str


def judge(figures: dict[str, Figures]) -> list[Verdict]:
    """A verdict for each target, from the figures of `platform`, `vendor` and `litellm`, if there."""
    ours, vendor, litellm = (figures.get(name) for name in ("platform", "vendor", "litellm"))
    return [
        _ratio("chunks/s, unpaced 8x200", RELAY_RATIO, ours, litellm, lambda one: one.chunks_per_s),
        _ratio("non-streamed requests/s", NONSTREAM_RATIO, ours, litellm, lambda one: one.requests_per_s),
        _above("TTFT p50, 50 paced streams", PACED_TTFT_MS, ours, vendor, lambda one: one.paced_ttft_ms),
        _above("TTFT p50, one stream alone", ALONE_TTFT_MS, ours, vendor, lambda one: one.alone_ttft_ms),
        _memory(ours),
        _whole(ours),
    ]


def _verdict(target: str, measured: str, reached: bool) -> Verdict:
    return Verdict(target, measured, "PASS" if reached else "FAIL")


def _ratio(
    what: str, least: float, ours: Figures | None, peer: Figures | None, value: Callable[[Figures], float]
) -> Verdict:
    target = f"{what}: at least {least:g} x LiteLLM"
    if ours is None or peer is None or not value(peer):
        return Verdict(target, "-", "NOT MEASURED")
    ratio = value(ours) / value(peer)
    return _verdict(target, f"{value(ours):,.0f} / {value(peer):,.0f} = {ratio:.1f} x", ratio >= least)


def _above(
    what: str, most: float, ours: Figures | None, vendor: Figures | None, value: Callable[[Figures], float]
) -> Verdict:
    target = f"{what}: at most {most:g} ms above the vendor"
    if ours is None or vendor is None or not value(ours) or not value(vendor):
        return Verdict(target, "-", "NOT MEASURED")
    above = value(ours) - value(vendor)
    return _verdict(target, f"{value(ours):.1f} - {value(vendor):.1f} = {above:.1f} ms", above <= most)


def _memory(ours: Figures | None) -> Verdict:
    target = f"peak memory of the web process: at most {MEMORY_MB:g} MB"
    if ours is None or ours.memory_mb is None:
        return Verdict(target, "-", "NOT MEASURED")
    return _verdict(target, f"{ours.memory_mb:.0f} MB", ours.memory_mb <= MEMORY_MB)


def _whole(ours: Figures | None) -> Verdict:
    target = "every answer whole and right"
    if ours is None:
        return Verdict(target, "-", "NOT MEASURED")
    return _verdict(target, f"{ours.failed} wrong", ours.failed == 0)

"""Sampling parameters that are passed on to a model, in the names of OpenAI's chat completions."""

from __future__ import annotations

from typing import Any

# name -> (lowest, highest), as OpenAI documents them.
NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
MOST_OUTPUT_TOKENS = 10_000_000
FALLBACKS = "fallbacks"  # the models that stand in (agents/fallbacks.py)
# Those of an agent's own; all but FALLBACKS are passed on to its model.
PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "thinking",
        FALLBACKS,
    }
)


def parameter_problems(parameters: Any) -> list[str]:
    """What is wrong with an agent's parameters, as sentences."""
    if not isinstance(parameters, dict) or set(parameters) - PARAMETERS:
        return [f"Parameters of an agent are: {', '.join(sorted(PARAMETERS))}."]
    problems = [problem_with(name, value) for name, value in parameters.items()]
    return [problem for problem in problems if problem]


def problem_with(name: str, value: Any) -> str | None:
    """Why no model takes `value` for the parameter `name`, as a sentence; None when it is fine or not set."""
    if value is None:
        return None
    if name in NUMBERS:
        low, high = NUMBERS[name]
        fits = type(value) in (int, float) and low <= value <= high
        return None if fits else f"{name} is a number from {low} to {high}."
    if name in ("max_tokens", "max_completion_tokens"):
        fits = type(value) is int and 1 <= value <= MOST_OUTPUT_TOKENS
        return None if fits else f"{name} is a whole number above 0."
    if name == "seed" and type(value) is not int:
        return "seed is a whole number."
    if name == "stop":
        stops = [value] if isinstance(value, str) else value
        fits = isinstance(stops, list) and all(isinstance(one, str) for one in stops)
        return None if fits else "stop is a text or a list of texts."
    return None


def passed_on(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of an agent's parameters that its model is sent as they are."""
    return {name: value for name, value in parameters.items() if name not in ("max_tokens", FALLBACKS)}

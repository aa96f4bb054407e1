"""How well and how fast knowledge is found: `python -m bench.knowledge`."""

"""How well and how fast knowledge is found: `python -m bench.knowledge`.

Quality: questions in English and Chinese with the passage that answers each, among all others (quality.py).
Speed: passages that are made up (made.py), searched one after the other (speed.py).
--ingest: whole documents instead (bench/knowledge/ingest.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.knowledge.ingest import measure
from bench.knowledge.local import served
from bench.knowledge.place import own_tenant
from bench.knowledge.quality import quality
from bench.knowledge.speed import speed
from bench.machine import describe


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.knowledge", description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000, help="passages of the speed part (default 100000)")
    parser.add_argument("--dimension", type=int, default=1024, help="of their vectors (default 1024)")
    parser.add_argument("--quality", action="store_true", help="only the quality, in seconds")
    parser.add_argument("--weights", type=Path, help="a GGUF file: the quality with its vectors too")
    parser.add_argument("--speed", action="store_true", help="only the speed")
    parser.add_argument("--ingest", action="store_true", help="how long whole documents take, and nothing else")
    parser.add_argument("--explain", action="store_true", help="print the plans of the speed part")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": describe()}
    with own_tenant() as actor:
        if options.ingest:
            report["ingest"] = measure(actor)
        elif not options.speed:
            report["quality"] = quality(actor)
            if options.weights:
                with served(options.weights) as vectors:
                    report["quality_of_model"] = {"model": options.weights.stem} | quality(actor, vectors)
        if not options.quality and not options.ingest:
            report["speed"] = speed(actor, options.chunks, options.dimension, options.explain)
    print(json.dumps(report, indent=2, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

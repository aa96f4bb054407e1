"""Whether static/chat was built from the sources in frontend/; needs no Node.

`frontend/dev/sources.ts` writes the same fingerprint at each build; keep the two alike.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOTS = ("src", "public", "package-lock.json", "vite.config.ts", "tsconfig.json")


def fingerprint(frontend: Path) -> str:
    """SHA-256 over the SHA-256 and path of every source, by path."""
    found: list[Path] = []
    for root in ROOTS:
        path = frontend / root
        found += [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    names = sorted(file.relative_to(frontend).as_posix() for file in found)
    lines = (f"{hashlib.sha256((frontend / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main() -> int:
    """0 when the bundle is up to date."""
    built_from = (ROOT / "static" / "chat" / "sources.sha256").read_text().strip()
    if built_from == fingerprint(ROOT / "frontend"):
        return 0
    print("static/chat is not built from frontend/ as it is: run `make frontend` (Node 20) and commit the result.")
    return 1


if __name__ == "__main__":
    sys.exit(main())

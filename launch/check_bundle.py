"""Whether static/chat was built from the sources in frontend/, and is as small as it is meant to be; needs no Node.

`frontend/dev/sources.ts` writes the same fingerprint at each build; keep the two alike.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "static" / "chat"
BUNDLE_KB = 250
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


def bundle_kb(bundle: Path = BUNDLE) -> float:
    """What a browser loads before it shows the page, gzipped, in kB (1,000 bytes): the entry and its sheets. What the
    first formula loads later does not count."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = next(item for item in manifest.values() if item.get("isEntry"))
    names = [entry["file"], *entry.get("css", ()), *(manifest[name]["file"] for name in entry.get("imports", ()))]
    return sum(len(gzip.compress((bundle / name).read_bytes(), 9, mtime=0)) for name in names) / 1000


def main() -> int:
    """0 when the bundle is up to date and small enough."""
    built_from = (BUNDLE / "sources.sha256").read_text().strip()
    if built_from != fingerprint(ROOT / "frontend"):
        print("static/chat is not built from frontend/ as it is: run `make frontend` (Node 20) and commit the result.")
        return 1
    if "../" in (BUNDLE / "manifest.json").read_text():
        print("static/chat was built with packages from elsewhere (a linked node_modules): run `make frontend` again.")
        return 1
    size = bundle_kb()
    if size > BUNDLE_KB:
        print(f"The chat page's script and sheets have {size:.0f} kB gzipped, and may have {BUNDLE_KB}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

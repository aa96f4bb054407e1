"""Whether a process answers, for whoever watches it: `python -m launch.probe http://127.0.0.1:8000/healthz`.

Exit status 0 when GET of the address gives 200 within four seconds. Standard library only: it runs every few seconds.
"""

import http.client
import sys
from urllib.parse import urlsplit

SECONDS = 4


def main(url: str) -> int:
    """0 when it answers 200, else 1, with a line that says why."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if status != 200:
        print(f"{url}: HTTP {status}", file=sys.stderr)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

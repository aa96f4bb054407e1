"""`python -m bench` is the report (`make bench`)."""

import sys

from bench.report import main

sys.exit(main())

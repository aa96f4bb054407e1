"""Load and stress: the stand-in vendor, the load generator, the subjects and the report (see README.md)."""

"""A backup of the whole installation or of one tenant, and its restoring (docs/backup.md)."""

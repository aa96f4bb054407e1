"""Wiring only: settings, URLs, the ASGI application. Imported by nobody."""

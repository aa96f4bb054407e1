"""Behind a proxy that ends TLS: secure cookies, HSTS."""

from core.logs import configure_structlog
from paas import env
from paas.settings.base import *  # noqa: F403

PUBLIC_SCHEME = env.text("PUBLIC_SCHEME", "https")
PUBLIC_PORT = env.text("PUBLIC_PORT", "")
# The proxy; without this all visitors would come from its address, and share its tries at passwords.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", 1)
OPERATORS_NEED_SECOND_FACTOR = env.flag("OPERATORS_NEED_SECOND_FACTOR", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", True)
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_SECURE = True
# With this prefix browsers take a cookie from its very host only, whatever a sibling's page tries to set (P18).
CSRF_COOKIE_NAME = "__Host-csrftoken"
LANGUAGE_COOKIE_NAME = "__Host-language"
LANGUAGE_COOKIE_SECURE = True

# For a collector of logs; LOG_FORMAT=line for people.
LOG_FORMAT = env.choice("LOG_FORMAT", "json", "line")
LOGGING["handlers"]["console"]["formatter"] = LOG_FORMAT  # type: ignore[index]  # noqa: F405
configure_structlog(LOG_FORMAT)

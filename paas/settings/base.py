"""Settings common to every environment. Values come from `paas.env`; README.md lists the variables."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.logs import configure_structlog
from paas import env, sign_in_providers
from paas.admin_site import UNFOLD  # noqa: F401

ROOT = env.ROOT
VAR_DIR = env.VAR_DIR

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY")
# Former ones, newest first: what they signed is still taken, and nothing new is signed with them.
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
FIELD_KEYS = env.words("FIELD_KEYS", env.text("FIELD_KEYS"))
API_KEY_PEPPER = env.text("API_KEY_PEPPER")

# --- Hosts -----------------------------------------------------------------------------------------
BASE_DOMAIN = env.text("BASE_DOMAIN", "localhost")
PLATFORM_HOSTS = env.words("PLATFORM_HOSTS", "127.0.0.1")
PUBLIC_SCHEME = env.text("PUBLIC_SCHEME", "http")
PUBLIC_PORT = env.text("PUBLIC_PORT", env.text("PORT", "8000"))
# Which hosts exist is decided by tenants.resolve before Django sees a request (P63).
ALLOWED_HOSTS = ["*"]
USE_X_FORWARDED_HOST = False

# Proxies in front that append to X-Forwarded-For; 0: the peer's own address counts.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", 0)

# --- Applications ----------------------------------------------------------------------------------
SHARED_APPS = [
    "paas.apps.ConsoleTheme",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",  # its widgets' templates, of which ours come first
    "rest_framework",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "procrastinate.contrib.django",
    "tenants",
    "accounts",
    "usage",
]
TENANT_APPS = ["llm", "knowledge", "agents", "chat"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS, "portal", "paas"]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "tenants.middleware.TenantMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "paas.admin_site.ConsolePolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.tokens_api.StrayTokens",
    "portal.impersonation.ImpersonationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tenants.middleware.DatabaseAway",
]
ROOT_URLCONF = "paas.urls_platform"  # tenant hosts: tenants.middleware sets TENANT_URLCONF
TENANT_URLCONF = "paas.urls_tenant"
ASGI_APPLICATION = "paas.asgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.navigation.navigation",
            ],
        },
    },
]

# --- Database --------------------------------------------------------------------------------------
# Web processes sign in as paas_app. manage.py (migrations, provisioning, the worker) signs in as
# paas_owner; its everyday statements run under the same roles all the same (tenants/db/base.py).
DATABASE_LOGIN = env.text("DATABASE_LOGIN", "app")
DATABASE_URL = env.text("DATABASE_OWNER_URL" if DATABASE_LOGIN == "owner" else "DATABASE_URL")
STATEMENT_TIMEOUT_MS = env.number("STATEMENT_TIMEOUT_MS", 5_000)
_connection: dict[str, Any] = conninfo_to_dict(DATABASE_URL)
_session = {
    "timezone": "UTC",
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "lock_timeout": 3000,
    "idle_in_transaction_session_timeout": 30000,
    "search_path": "pg_catalog",
}
# In the startup packet, so that RESET ALL falls back to these values and to no others. PgBouncer takes none there:
# through it they are set when a session begins, and again after each RESET ALL (tenants/db/session.py).
DATABASE_POOLER = env.flag("DATABASE_POOLER", False)
# The hot path's statements never differ in how they are best done, and to plan one takes as long as to execute it.
_hot_session = _session | {"plan_cache_mode": "force_generic_plan"}
SESSION_SETTINGS, HOT_SESSION_SETTINGS = (_session, _hot_session) if DATABASE_POOLER else ({}, {})


def _server_options(session: dict[str, Any]) -> str:
    return "" if DATABASE_POOLER else " ".join(f"-c {name}={value}" for name, value in session.items())


_client_options = {
    key: value for key, value in _connection.items() if key not in ("dbname", "user", "password", "host", "port")
}


def _reset(connection: Any) -> None:
    from tenants.db.base import reset_connection

    reset_connection(connection)


# PostgreSQL's side of a connection remembers the tables of every tenant that it has served, and its plans, until it
# ends: up to 0.9 MB each, 2.7 MB on the hot path, where a connection ends after so many tenants (docs/scaling.md).
DATABASE_CONNECTION_SECONDS = env.number("DATABASE_CONNECTION_SECONDS", 600)
DATABASES = {
    "default": {
        "ENGINE": "tenants.db",
        "NAME": _connection.get("dbname"),
        "USER": _connection.get("user"),
        "PASSWORD": _connection.get("password"),
        "HOST": _connection.get("host", ""),
        "PORT": _connection.get("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,  # tenants/db/base.py looks at each connection as it leaves the pool
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {
            **_client_options,
            "options": _server_options(_session),
            "connect_timeout": 3,
            "pool": {
                "min_size": 0,
                "max_size": env.number("DATABASE_POOL_SIZE", 12),
                "timeout": 3,
                "max_lifetime": DATABASE_CONNECTION_SECONDS,
                # Not the default of five minutes of growing pauses: a database that is back is asked at once (P26).
                "reconnect_timeout": 1,
                "reset": _reset,
            },
        },
    }
}
HOT_DATABASE_CONNINFO = make_conninfo(DATABASE_URL, options=_server_options(_hot_session), connect_timeout=3)
HOT_POOL_SIZE = env.number("HOT_POOL_SIZE", 4)
HOT_CONNECTION_TENANTS = env.number("HOT_CONNECTION_TENANTS", 100)
HOT_POOL_WARM = HOT_POOL_SIZE  # all are made at the start: a burst must not wait for connections

# --- Redis -----------------------------------------------------------------------------------------
REDIS_URL = env.text("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "tenants.cache.ProcessRedisCache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "tenants.cache.make_key",
        # What limits the connections is how many requests are worked on at once: a pool that is full would fail some.
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2, "max_connections": 10_000},
    }
}
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"
STORAGES = {
    "default": {"BACKEND": "tenants.storage.TenantStorage", "OPTIONS": {"location": VAR_DIR / "files"}},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- People ----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.EmailBackend"]
PASSWORD_HASHERS = ["accounts.hashers.QueuedBCrypt", "accounts.hashers.ImportedBCrypt"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SIMPLE_JWT = {"TOKEN_TYPE_CLAIM": "type", "USER_ID_CLAIM": "sub"}  # the rest is accounts/tokens.py
MFA_ADAPTER = "accounts.factors_adapter.FactorsAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_TOTP_TOLERANCE = 1  # a code of the half minute before or after: phones' clocks differ
MFA_RECOVERY_CODE_DIGITS = 12
# Whether operators get into the console, and its API, with a second factor only.
OPERATORS_NEED_SECOND_FACTOR = env.flag("OPERATORS_NEED_SECOND_FACTOR", False)
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_DOMAIN = None  # host-only: never readable on a sibling subdomain (P18)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_DOMAIN = None
CSRF_FAILURE_VIEW = "portal.views.forgery_suspected"
CSRF_COOKIE_SAMESITE = "Lax"  # not HttpOnly: the chat page's script sends it back as a header
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/chat/"

# Providers that everybody may sign in with; tenants add their own (accounts.IdentityProvider).
IDENTITY_PROVIDERS = sign_in_providers.from_environment()
# allauth keeps the rows and knows the vendors; its own views are not routed (docs/adr/0010). Nothing is ever
# connected because two e-mail addresses are the same (P38, A20).
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = False

# Who may make a workspace for themselves, and how long one that was deleted can be had back.
SIGN_UP_OPEN = env.flag("SIGN_UP_OPEN", True)
DELETION_GRACE_DAYS = env.number("DELETION_GRACE_DAYS", 14)

# --- Bills -----------------------------------------------------------------------------------------
# Who bills, as it stands on every invoice; lines are separated by \n.
INVOICE_ISSUER = env.text("INVOICE_ISSUER", "Agent PaaS").replace("\\n", "\n")
# Whether a month's invoices are issued as soon as it is over; otherwise they are drafts until an operator issues them.
INVOICES_AUTOMATIC = env.flag("INVOICES_AUTOMATIC", False)

# --- Mail ------------------------------------------------------------------------------------------
# Without a server, mails are files in VAR_DIR/mail.
EMAIL_HOST = env.text("EMAIL_HOST", "")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = VAR_DIR / "mail"
EMAIL_PORT = env.number("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", True) and EMAIL_PORT != 465
EMAIL_USE_SSL = EMAIL_PORT == 465
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"Agent PaaS <noreply@{BASE_DOMAIN}>")

# --- Models and runs -------------------------------------------------------------------------------
LOCAL_MODEL_URL = env.text("LOCAL_MODEL_URL", "")
# What new workspaces begin with: an assistant on this model of the local server. Empty: no agent.
LOCAL_MODEL_NAME = env.text("LOCAL_MODEL_NAME", "")
# Private hosts or networks that tenants' provider addresses may reach all the same, and public ones they may not.
EGRESS_ALLOW = env.words("EGRESS_ALLOW")
EGRESS_DENY = env.words("EGRESS_DENY")
# Where web searches are asked, with each workspace's own key.
TAVILY_URL = env.text("TAVILY_URL", "https://api.tavily.com").rstrip("/")
MAX_MESSAGE_CHARS = 100_000
# Where runs execute: `web`, in the process that took the request, or `worker`.
RUN_HOST = env.choice("RUN_HOST", "web", "worker")
# A process that is to stop lets its runs go on for so long.
DRAIN_SECONDS = env.number("DRAIN_SECONDS", 60)
MAX_BODY_BYTES = 4 * 1024 * 1024
# Of one file in a conversation; what is uploaded in one request may be three times as much (paas/bodies.py).
MAX_FILE_BYTES = env.number("MAX_FILE_MB", 20) * 1024 * 1024

# Requests a minute of one person or key, by class of route (accounts/rates.py); auth and anonymous: of one address.
# 0 is no limit. A plan's requests_per_minute limits the whole tenant besides.
RATE_LIMITS = env.rates(
    "RATE_LIMITS",
    {"turn": 600, "stream": 1200, "read": 3000, "write": 1200, "admin": 600, "auth": 60, "anonymous": 600},
)

# What would have to wait for longer until it is begun is told to come again (tenants/gate.py).
REQUEST_PATIENCE_MS = env.number("REQUEST_PATIENCE_MS", 250)

# --- Pages -----------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "static"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [ROOT / "locale"]
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.ActorAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.IsActor"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.rates.RouteThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "accounts.authentication.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is a view's own
}

# --- What operators see ----------------------------------------------------------------------------
# Where this process serves /metrics; 0: nowhere.
METRICS_PORT = env.number("METRICS_PORT", 0)
METRICS_HOST = env.text("METRICS_HOST", "127.0.0.1")
# The collector of traces, by OTLP over HTTP; empty: none. The rest says nothing without it.
OTEL_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT", "")
OTEL_HEADERS = env.text("OTEL_EXPORTER_OTLP_HEADERS", "")
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME", "agent-paas")
OTEL_PERCENT = env.number("OTEL_TRACES_PERCENT", 100)
OTEL_CAPTURE_CONTENT = env.flag("OTEL_CAPTURE_CONTENT", False)
# Where the tracing system shows a run: an address with {run_id} in it; empty: the console has no such link.
TRACE_URL_TEMPLATE = env.address_with("TRACE_URL_TEMPLATE", "{run_id}")
LOG_FORMAT = env.choice("LOG_FORMAT", "line", "json")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "core.redaction.RedactSecrets"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "core.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["redact"]}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "procrastinate": {"level": "WARNING"},
        "psycopg.pool": {"level": "ERROR"},  # it says at each try that the server is away; the caller says it once
        "aiohttp.access": {"level": "WARNING"},
        "opentelemetry": {"level": "ERROR"},  # that its queue is full, it says for each span
    },
}
configure_structlog(LOG_FORMAT)

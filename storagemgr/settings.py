"""Everything is set by environment variables; README.md lists them."""

import os
import secrets
from pathlib import Path

import environ
from celery.schedules import schedule
from csp.constants import NONE, SELF
from kombu import Queue

from storagemgr.log_lines import without_trace_of_refusals

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = Path(env("STORAGEMGR_DATA", default=str(BASE_DIR / ".data"))).resolve()
DEBUG = env.bool("DEBUG", default=False)


def secret_key() -> str:
    """SECRET_KEY, else a key of this data directory, made the first time that one is needed."""
    if key := env("SECRET_KEY", default=""):
        return key
    key_file = DATA_DIR / "secret-key"
    if not key_file.exists():
        DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    return key_file.read_text()


SECRET_KEY = secret_key()
# Former keys, with commas between: what they signed and sealed still holds.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_filters",
    "template_partials",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "storagemgr",
    "storagemgr.access",
    "storagemgr.hosts",
    "storagemgr.jobs",
    "pools",
    "volumes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "storagemgr.access.sessions.Middleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "storagemgr.access.second_factor.Middleware",
    "storagemgr.access.preferences.middleware",
    "storagemgr.access.preview.Middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "storagemgr.urls"
WSGI_APPLICATION = "storagemgr.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "storagemgr.jobs.context.running_jobs",
            ],
            "builtins": ["storagemgr.templatetags.storage"],
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'storagemgr.sqlite3'}")}
DATABASES["default"]["CONN_MAX_AGE"] = 600
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that reads before it writes would otherwise fail at once with
    # "database is locked" when another process writes in between.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# No page needs Redis: sessions and cache live in the database and in the process.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
# Seconds after which an unused session ends (0: never), and after which any does.
SESSION_IDLE = env.int("SESSION_IDLE", default=3600)
SESSION_COOKIE_AGE = SESSION_ABSOLUTE = env.int("SESSION_ABSOLUTE", default=12 * 3600)
SESSION_COOKIE_SAMESITE = "Lax"

AUTHENTICATION_BACKENDS = ["storagemgr.access.preferences.Backend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "pools:fleet"
ACCOUNT_ADAPTER = "storagemgr.access.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
# All others end: a session holds a hash of the password.
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_PRESERVE_USERNAME_CASING = True
# Seconds after which a person proves again who they are before data is lost or access changes; 0: never.
REAUTHENTICATE_AFTER = env.int("REAUTHENTICATE_AFTER", default=300)
ACCOUNT_REAUTHENTICATION_TIMEOUT = REAUTHENTICATE_AFTER

# Single sign-on at an OpenID Connect provider: its issuer URL, and what it knows this program as.
OIDC_ISSUER = env("OIDC_ISSUER", default="").rstrip("/")
OIDC_NAME = env("OIDC_NAME", default="single sign-on")  # on the button: "Sign in with NAME"
OIDC_SCOPES = env.list("OIDC_SCOPES", default=["openid", "profile", "email"])
# The claim with the person's groups, which make members of the teams of that outside name; "": no groups.
OIDC_GROUPS_CLAIM = env("OIDC_GROUPS_CLAIM", default="groups")
OIDC_CREATE = env.bool("OIDC_CREATE", default=True)  # accounts for people who are not known here
# Sign people in to the account that has their mail address, when the provider says that it verified it.
OIDC_LINK_BY_MAIL = env.bool("OIDC_LINK_BY_MAIL", default=False)
OIDC_HAS_MFA = env.bool("OIDC_HAS_MFA", default=False)  # the provider asks for a second factor itself

# Sign-in against a directory, with the packages of requirements-ldap.txt.
LDAP_URL = env("LDAP_URL", default="")
LDAP_START_TLS = env.bool("LDAP_START_TLS", default=True)  # for ldap://; ldaps:// is TLS already
LDAP_CA_FILE = env("LDAP_CA_FILE", default="")  # "": the system's
# Either a person's DN by their name, "uid=%(user)s,ou=people,dc=example,dc=org", or where and how it is searched.
LDAP_USER_DN = env("LDAP_USER_DN", default="")
LDAP_USER_BASE = env("LDAP_USER_BASE", default="")
LDAP_USER_FILTER = env("LDAP_USER_FILTER", default="(uid=%(user)s)")
LDAP_BIND_DN = env("LDAP_BIND_DN", default="")  # who searches; "": anybody
LDAP_BIND_PASSWORD = env("LDAP_BIND_PASSWORD", default="")
LDAP_GROUP_BASE = env("LDAP_GROUP_BASE", default="")  # "": groups are not looked at
LDAP_GROUP_FILTER = env("LDAP_GROUP_FILTER", default="(objectClass=groupOfNames)")
LDAP_GROUP_MEMBER = env("LDAP_GROUP_MEMBER", default="member")  # the attribute with its members' DNs
LDAP_CREATE = env.bool("LDAP_CREATE", default=True)  # accounts for people who are not known here
if LDAP_URL:
    AUTHENTICATION_BACKENDS.append("storagemgr.access.directory.DirectoryBackend")

SOCIALACCOUNT_ADAPTER = "storagemgr.access.single_sign_on.SocialAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "SCOPE": OIDC_SCOPES,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": env("OIDC_CLIENT_ID", default=""),
                "secret": env("OIDC_CLIENT_SECRET", default=""),
                "settings": {"server_url": OIDC_ISSUER},
            }
        ],
    }
}

MFA_ADAPTER = "storagemgr.access.second_factor.MFAAdapter"
MFA_FORMS = {
    "authenticate": "storagemgr.access.second_factor.CodeForm",
    "reauthenticate": "storagemgr.access.second_factor.CodeAgainForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "storagemgr"
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True
MAIL_IS_SET = "EMAIL_URL" in os.environ
_mail = env.email_url("EMAIL_URL", default="consolemail://")
EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = _mail.get("EMAIL_HOST", "localhost"), _mail.get("EMAIL_PORT") or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_USER"), _mail.get("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.get("EMAIL_USE_TLS", False), _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env("EMAIL_FROM", default="storagemgr@localhost")

USE_HTTPS = env.bool("USE_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = USE_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if USE_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = USE_HTTPS
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    ALLAUTH_TRUSTED_PROXY_COUNT = 1
# Browsers give keys to https and to localhost alone.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not (USE_HTTPS or env.bool("BEHIND_PROXY", default=False))
X_FRAME_OPTIONS = "DENY"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = env("TZ", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

REDIS_URL = env("REDIS_URL", default=f"redis+socket://{DATA_DIR / 'redis.sock'}")
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 86_400,
    "socket_timeout": 2.5,
    "socket_connect_timeout": 1,
    "health_check_interval": 25,
    # How long a click may wait for a broker that is down; what it did not hear, the tick tells it again.
    "max_retries": 1,
    "interval_start": 0,
    "interval_max": 0.1,
    "global_keyprefix": "storagemgr:",
}
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_QUEUES = [Queue("jobs"), Queue("sync"), Queue("tick")]
CELERY_TASK_DEFAULT_QUEUE = "jobs"
# Settling must not wait until four long copies have ended.
CELERY_TASK_ROUTES = {"volumes.tick": "tick", "volumes.read_host": "sync", "jobs.settle": "sync"}
CELERY_TASK_ROUTES["volumes.check_audit"] = "sync"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {"tick": {"task": "volumes.tick", "schedule": schedule(2), "options": {"expires": 10}}}

EMBEDDED_HOST = env.bool("EMBEDDED_HOST", default=True)  # this machine is a host, its daemon ours to start
# Hosts over plain TCP, which anybody on the way can read and change.
ALLOW_TCP = env.bool("ALLOW_TCP", default=False)
# Hosts at loopback and link-local addresses: what listens there is mostly not meant for us.
ALLOW_NEAR_ADDRESSES = env.bool("ALLOW_NEAR_ADDRESSES", default=False)
LOCAL_SOCKETS = env.list("LOCAL_SOCKETS", default=[])  # paths of daemons' sockets that a local host may name
READ_PERIOD = env.int("READ_PERIOD", default=2)  # seconds between two readings of a host that answers
VOLUMES_PERIOD = env.int("VOLUMES_PERIOD", default=60)  # seconds between two readings of unchanged volumes
# Seconds between two scheduled refreshes of a directory pool; twice that for block devices, four times for rbd and
# gluster. 0: none.
REFRESH_PERIOD = env.int("REFRESH_PERIOD", default=900)
# Seconds between two points of the trend of a pool; 0: none are taken.
SAMPLE_PERIOD = env.int("SAMPLE_PERIOD", default=300)
# Seconds for a start, stop, refresh...: a dead NFS server hangs them.
JOB_LIMIT = env.int("JOB_LIMIT", default=180)
# Directories below which new pools may be; empty: path_policy alone.
POOL_PATHS = env.list("POOL_PATHS", default=[])
DELETE_DELAY = env.int("DELETE_DELAY", default=86_400)  # seconds in which a delete can be undone; 0: none
# Where browsers and tus clients find the transfer process: "" for TRANSFER_PORT of the name that the page was asked
# under, else a URL, or a path where a proxy leads /transfer/ to it.
TRANSFER_URL = env("TRANSFER_URL", default="")
_PORT = env("PORT", default="8000")
TRANSFER_PORT = env.int("TRANSFER_PORT", default=int(_PORT) + 1 if _PORT.isdecimal() else 8001)
# Seconds that an upload without a new byte can be resumed.
TRANSFER_KEPT = env.int("TRANSFER_KEPT", default=86_400)
# Streams that the transfer process serves at a time.
TRANSFERS_AT_ONCE = env.int("TRANSFERS_AT_ONCE", default=8)
UPLOAD_LIMIT = env.int("UPLOAD_LIMIT", default=16 * 1024**4)  # bytes of an upload or import
# Bytes that an image may claim to be.
VIRTUAL_SIZE_LIMIT = env.int("VIRTUAL_SIZE_LIMIT", default=64 * 1024**4)
# Beginnings of URLs that may be imported from; none: no import.
IMPORT_URLS = env.list("IMPORT_URLS", default=[])
AUDIT_KEPT = env.int("AUDIT_KEPT", default=730)  # days; 0: for ever
CHANGES_KEPT = env.int("CHANGES_KEPT", default=365)  # days, of what was seen from outside; 0: for ever
LEASE = env.int("LEASE", default=20)  # seconds after which a job whose worker is silent is taken back

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"refusals": {"()": "django.utils.log.CallbackFilter", "callback": without_trace_of_refusals}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", default="INFO")},
}

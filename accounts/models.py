"""People and their credentials. All shared tables; row-level security shows a tenant its own rows only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils.crypto import salted_hmac

from core.ids import uuid7
from tenants.fields import EncryptedTextField
from tenants.models import Tenant


class UserManager(BaseUserManager["User"]):
    """Users by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A user; without a password nobody can sign in as them."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An operator of the platform."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").strip().lower())


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person is in a tenant, as it was read together with them.

    own_rate: how many requests a minute their own limit allows; None without one.
    """

    tenant_id: uuid.UUID
    role: str
    own_rate: Decimal | None


class User(AbstractBaseUser, PermissionsMixin):
    """A person, once for the whole platform; what they may do in a tenant is their Membership."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True, help_text="Kept in lower case.")
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("operator", default=False, help_text="May use the platform's admin pages.")
    language = models.CharField(max_length=10, blank=True)
    approval_mails = models.BooleanField(
        default=True, db_default=True, help_text="Write to them when a run waits for them to decide."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    token_version = models.IntegerField(
        default=0, editable=False, help_text="Raising it ends every session and token of this person."
    )

    standing: Standing | None = None  # in the tenant that was bound when selectors.member_of read them

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.email

    def _get_session_auth_hash(self, secret: Any = None) -> str:
        # What Django compares at each request: a session ends with the password and with the token version.
        value = f"{self.password}:{self.token_version}"
        return salted_hmac("accounts.User.session", value, secret=secret, algorithm="sha256").hexdigest()


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's role in a tenant."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_once")]
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant} as {self.role}"


class Invitation(models.Model):
    """An e-mail address that may join a tenant. The link's token is stored as its HMAC only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    digest = models.BinaryField(max_length=32)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once",
            ),
            models.UniqueConstraint(fields=["tenant", "digest"], name="invitation_digest_unique"),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class SignUp(models.Model):
    """Somebody who wants a workspace of their own and has yet to prove their address. Seen by the platform only.

    Name and password are asked for behind the link in the mail only: whoever has the link is who chooses them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254)
    tenant_name = models.CharField(max_length=120)
    slug = models.CharField(max_length=40)
    language = models.CharField(max_length=10, blank=True)
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    tenant = models.ForeignKey(Tenant, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["email"], name="signup_email")]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.slug} for {self.email}"


class OneTimeCode(models.Model):
    """Something that works once: a hand-over to a tenant's host, an e-mail change, a password reset.

    Stored as the HMAC of the code; redeeming deletes the row, so that of two only one succeeds.
    """

    digest = models.BinaryField(max_length=32, primary_key=True)
    purpose = models.CharField(max_length=30)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, related_name="+")
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.purpose


class IdentityProvider(models.Model):
    """A tenant's own OpenID Connect provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="identity_providers")
    name = models.CharField(max_length=60, help_text="On the button: Sign in with ...")
    issuer = models.URLField(max_length=300, help_text="The address whose /.well-known/openid-configuration is read.")
    client_id = models.CharField(max_length=300)
    client_secret = EncryptedTextField(blank=True)
    email_domains = models.JSONField(default=list, blank=True, help_text="Only addresses of these domains; empty: any.")
    join_role = models.CharField(
        max_length=10,
        blank=True,
        choices=Role.choices,
        help_text="Who is new joins with this role; empty: by invitation.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="identity_provider_name_unique")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class RefreshFamily(models.Model):
    """One sign-in by JSON Web Token: the chain of refresh tokens of which only the newest is good (P34)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    membership_id = models.UUIDField(null=True, help_text="The one it hangs on; none in families of older releases.")
    jti = models.UUIDField(help_text="Of the refresh token that is good now.")
    issued_at = models.DateTimeField(help_text="Of that token.")
    previous_jti = models.UUIDField(null=True, help_text="Of the one before, for a reply that got lost.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(help_text="30 days after sign-in, whatever is refreshed.")
    revoked_at = models.DateTimeField(null=True)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "tenant"], name="refreshfamily_user")]

    def __str__(self) -> str:
        return str(self.id)


class Impersonation(models.Model):
    """An operator who sees a tenant as one of its people do: with a reason, for half an hour at most."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    operator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    started_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.operator} as {self.user}: {self.reason}"


class ApiKey(models.Model):
    """A key for programs. Only its HMAC is stored; the token is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    digest = models.BinaryField(max_length=32)
    hint = models.CharField(max_length=16, help_text="The token's first characters, to tell keys apart.")
    scopes = models.JSONField(default=list)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")
    allowed_agents = models.JSONField(default=list, blank=True, help_text="Slugs of the agents it may use; empty: all.")
    allowed_models = models.JSONField(default=list, blank=True, help_text="Names of the models it may use; empty: all.")
    allowed_networks = models.JSONField(default=list, blank=True, help_text="Addresses it may come from; empty: any.")
    tokens_per_month = models.BigIntegerField(null=True, blank=True, help_text="Its own budget; empty: the tenant's.")
    # A key goes with the person who made it: without their name it would live on as a key of nobody.
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "digest"], name="apikey_digest_unique"),
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=models.Q(revoked_at=None), name="apikey_name_unique"
            ),
        ]
        indexes = [models.Index(fields=["digest"], name="apikey_digest")]
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class Session(AbstractBaseSession):
    """A signed-in browser on one host. The row's tenant is the host's; None is the platform host."""

    public_id = models.UUIDField(default=uuid7, editable=False, help_text="What lists show; the key is secret.")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(auto_now_add=True)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "accounts_session"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore


class AuditEvent(models.Model):
    """Something privileged that happened, or was refused. Append-only, and each row seals the one before it.

    Triggers hold both (accounts/migrations/0004_audit_chain.sql): `seq` counts from 1 in each tenant, `digest` is
    the SHA-256 of the digest before and of this row.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, null=True, db_constraint=False)
    actor = models.CharField(max_length=300, help_text="user:<id>, key:<id>, operator:<id> or command:<name>")
    action = models.CharField(max_length=80, help_text="subject.verb, such as session.created")
    target = models.CharField(max_length=200, blank=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)
    address = models.GenericIPAddressField(null=True)
    seq = models.BigIntegerField(null=True, editable=False)
    digest = models.BinaryField(null=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], nulls_distinct=False, name="audit_chain")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="audit_tenant_recent"),
            models.Index(fields=["-id"], condition=models.Q(action="backup.made"), name="audit_backups"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"


class AuditHead(models.Model):
    """Up to where a log was found whole. Tenants may read theirs; only the platform writes it.

    Whoever removes the newest rows leaves a chain without a fault: that it was once longer is known from here.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, null=True, db_constraint=False)
    seq = models.BigIntegerField(default=0)
    digest = models.BinaryField(default=b"", help_text="Of row `seq`; empty for 0.")
    verified_at = models.DateTimeField(null=True, help_text="When everything up to `seq` was last found whole.")
    problem = models.CharField(max_length=300, blank=True, help_text="What the last look found broken.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant"], nulls_distinct=False, name="audit_head_once")]

    def __str__(self) -> str:
        return self.problem or f"whole up to #{self.seq}"

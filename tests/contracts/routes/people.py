"""The routes of people, keys, signing in and the workspace on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import ADMIN_AUDIT, ADMIN_KEYS, ADMIN_MEMBERS, ADMIN_OWNER, ADMIN_SETTINGS
from tests.contracts.declaring import ANY, PERSON, Access, Declared, api, page, public

ACCESS: dict[str, Access] = {
    "/login/": public("GET", "POST"),
    "/logout/": public("POST", skip=("POST",)),
    "/api/v1/me": api(GET=ANY, PATCH=PERSON),
    "/api/v1/notices": api(GET=ANY),
    "/api/v1/audit": api(GET=ADMIN_AUDIT),
    "/api/v1/audit/export": api(GET=ADMIN_AUDIT),
    "/settings/audit/": page(GET=ADMIN_AUDIT),
    "/impersonate/": public(),
    "/impersonate/end/": public("POST", skip=("POST",)),
    "/login/platform/": public(leads=("platform",)),
    "/login/forgot/": public("GET", "POST"),
    "/login/reset/<str:code>/": public("GET", "POST"),
    "/profile/": page(GET=ANY, POST=ANY),
    "/profile/email/<str:code>/": page(GET=ANY, POST=ANY),
    "/profile/sessions/<uuid:session_id>/end/": page(POST=ANY),
    "/profile/sessions/end-all/": page(POST=ANY, skip=("POST",)),
    "/api/v1/me/sessions": api(GET=PERSON),
    "/api/v1/me/sessions/<uuid:session_id>": api(DELETE=PERSON),
    "/api/v1/me/sign-out-everywhere": api(POST=PERSON, skip=("POST",)),
    "/login/code/": public("GET", "POST"),
    "/login/code/passkey/": public("POST"),
    "/login/oidc/": public(),
    "/login/oidc/<str:key>/": public(leads=("elsewhere",)),
    "/profile/identities/": page(GET=ANY, POST=ANY),
    "/profile/security/": page(GET=ANY),
    "/profile/security/app/": page(GET=ANY, POST=ANY, proof=True),
    "/profile/security/app/start/": page(POST=ANY, proof=True),
    "/profile/security/app/remove/": page(POST=ANY, proof=True),
    "/profile/security/codes/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/start/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/remove/": page(POST=ANY, proof=True),
    "/api/auth/login": public("POST"),
    "/api/auth/login/tenant": public("POST"),
    "/api/auth/refresh": public("POST"),
    "/api/auth/logout": public("POST", skip=("POST",)),
    "/api/v1/members": api(GET=ADMIN_MEMBERS),
    "/api/v1/members/<uuid:user_id>": api(PATCH=ADMIN_MEMBERS, DELETE=ADMIN_MEMBERS),
    "/api/v1/members/leave": api(POST=PERSON, skip=("POST",)),
    "/api/v1/owner-transfer": api(POST=ADMIN_OWNER),
    "/api/v1/invitations": api(GET=ADMIN_MEMBERS, POST=ADMIN_MEMBERS),
    "/api/v1/invitations/<uuid:invitation_id>": api(DELETE=ADMIN_MEMBERS),
    "/api/v1/invitations/<uuid:invitation_id>/resend": api(POST=ADMIN_MEMBERS),
    "/invitations/<str:token>/": public("GET", "POST", leads=("platform",)),
    "/settings/members/": page(GET=ADMIN_MEMBERS, POST=ADMIN_MEMBERS),
    "/settings/members/<uuid:user_id>/remove/": page(POST=ADMIN_MEMBERS),
    "/settings/members/<uuid:user_id>/role/": page(POST=ADMIN_MEMBERS),
    "/settings/members/leave/": page(GET=ANY, POST=ANY, skip=("POST",)),
    "/settings/members/transfer/": page(POST=ADMIN_OWNER),
    "/settings/invitations/<uuid:invitation_id>/resend/": page(POST=ADMIN_MEMBERS),
    "/settings/invitations/<uuid:invitation_id>/revoke/": page(POST=ADMIN_MEMBERS),
    "/api/v1/keys": api(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/api/v1/keys/<uuid:key_id>": api(GET=ADMIN_KEYS, PATCH=ADMIN_KEYS, DELETE=ADMIN_KEYS),
    "/api/v1/keys/<uuid:key_id>/rotate": api(POST=ADMIN_KEYS),
    "/settings/keys/": page(GET=ADMIN_KEYS),
    "/settings/keys/new/": page(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/": page(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/revoke/": page(POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/rotate/": page(POST=ADMIN_KEYS),
    "/branding.css": public(),
    "/branding/logo": public(),
    "/settings/workspace/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/identity-providers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/identity-providers/<uuid:provider_id>": api(
        GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS
    ),
    "/settings/sign-in/": page(GET=ADMIN_SETTINGS),
    "/settings/sign-in/new/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/sign-in/<uuid:provider_id>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/sign-in/<uuid:provider_id>/test/": page(POST=ADMIN_SETTINGS),
}
TENANCY: dict[str, Declared] = {
    "/login/": Declared("public", ("GET", "POST"), page=True),
    "/logout/": Declared("public", ("POST",), page=True),
    "/api/v1/me": Declared("own", ("GET", "PATCH")),
    "/api/v1/notices": Declared("own"),
    "/api/v1/audit": Declared("own"),
    "/api/v1/audit/export": Declared("own"),
    "/settings/audit/": Declared("own", page=True),
    "/impersonate/": Declared("public", page=True),
    "/impersonate/end/": Declared("public", ("POST",), page=True),
    "/api/v1/members": Declared("own"),
    "/api/v1/members/leave": Declared("own", ("POST",)),
    "/api/v1/members/<uuid:user_id>": Declared(
        "by_id", ("PATCH", "DELETE"), {"user_id": "person"}, {"role": "viewer"}, of_tenant=True
    ),
    "/api/v1/owner-transfer": Declared("own", ("POST",)),
    "/api/v1/invitations": Declared("own", ("GET", "POST")),
    "/api/v1/invitations/<uuid:invitation_id>": Declared(
        "by_id", ("DELETE",), {"invitation_id": "invitation"}, of_tenant=True
    ),
    "/api/v1/invitations/<uuid:invitation_id>/resend": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, of_tenant=True
    ),
    "/settings/members/": Declared("own", ("GET", "POST"), page=True),
    "/settings/members/leave/": Declared("shell", ("GET", "POST"), page=True),
    "/settings/members/transfer/": Declared("own", ("POST",), page=True),
    "/settings/members/<uuid:user_id>/role/": Declared(
        "by_id", ("POST",), {"user_id": "person"}, page=True, of_tenant=True
    ),
    "/settings/members/<uuid:user_id>/remove/": Declared(
        "by_id", ("POST",), {"user_id": "person"}, page=True, of_tenant=True
    ),
    "/settings/invitations/<uuid:invitation_id>/resend/": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, page=True, of_tenant=True
    ),
    "/settings/invitations/<uuid:invitation_id>/revoke/": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, page=True, of_tenant=True
    ),
    "/invitations/<str:token>/": Declared("public", ("GET", "POST"), {"token": "invitation_link"}, page=True),
    "/settings/workspace/": Declared("own", ("GET", "POST"), page=True),
    "/branding.css": Declared("public", page=True),
    "/branding/logo": Declared("public", page=True),
    "/login/platform/": Declared("public", page=True),
    "/login/forgot/": Declared("public", ("GET", "POST"), page=True),
    "/login/reset/<str:code>/": Declared("public", ("GET", "POST"), {"code": "reset_code"}, page=True),
    "/profile/": Declared("own", ("GET", "POST"), page=True),
    "/profile/email/<str:code>/": Declared("by_id", ("GET", "POST"), {"code": "email_code"}, page=True),
    "/profile/sessions/<uuid:session_id>/end/": Declared("by_id", ("POST",), {"session_id": "session"}, page=True),
    "/profile/sessions/end-all/": Declared("own", ("POST",), page=True),
    "/api/v1/me/sessions": Declared("own", people=True),
    "/api/v1/me/sessions/<uuid:session_id>": Declared("by_id", ("DELETE",), {"session_id": "session"}, people=True),
    "/api/v1/me/sign-out-everywhere": Declared("own", ("POST",), people=True),
    "/login/code/": Declared("public", ("GET", "POST"), page=True),
    "/login/code/passkey/": Declared("public", ("POST",), page=True),
    "/profile/security/": Declared("own", page=True),
    "/profile/security/app/": Declared("own", ("GET", "POST"), page=True),
    "/profile/security/app/start/": Declared("own", ("POST",), page=True),
    "/profile/security/app/remove/": Declared("own", ("POST",), page=True),
    "/profile/security/codes/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/start/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/remove/": Declared("own", ("POST",), page=True),
    "/api/auth/login": Declared("own", ("POST",), body={"email": "rival@globex.test", "password": "wrong-on-purpose"}),
    "/api/auth/login/tenant": Declared(
        "own", ("POST",), body={"email": "rival@globex.test", "password": "wrong", "tenant_id": "0" * 32}
    ),
    "/api/auth/refresh": Declared("own", ("POST",), body={"refresh_token": "a.b.c"}),
    "/api/auth/logout": Declared("own", ("POST",)),
    "/api/v1/keys": Declared("own", ("GET", "POST")),
    "/api/v1/keys/<uuid:key_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"key_id": "api_key"}, {"name": "stolen"}, of_tenant=True
    ),
    "/api/v1/keys/<uuid:key_id>/rotate": Declared("by_id", ("POST",), {"key_id": "api_key"}, of_tenant=True),
    "/settings/keys/": Declared("own", page=True),
    "/settings/keys/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/keys/<uuid:key_id>/": Declared(
        "by_id", ("GET", "POST"), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    "/settings/keys/<uuid:key_id>/rotate/": Declared(
        "by_id", ("POST",), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    "/settings/keys/<uuid:key_id>/revoke/": Declared(
        "by_id", ("POST",), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    "/login/oidc/": Declared("public", page=True),
    "/login/oidc/<str:key>/": Declared("public", ids={"key": "identity_provider"}, page=True),
    "/profile/identities/": Declared("own", ("GET", "POST"), page=True),
    "/settings/sign-in/": Declared("own", page=True),
    "/settings/sign-in/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/sign-in/<uuid:provider_id>/": Declared(
        "by_id", ("GET", "POST"), {"provider_id": "identity_provider"}, page=True, of_tenant=True
    ),
    "/settings/sign-in/<uuid:provider_id>/test/": Declared(
        "by_id", ("POST",), {"provider_id": "identity_provider"}, page=True, of_tenant=True
    ),
    "/api/v1/identity-providers": Declared("own", ("GET", "POST")),
    "/api/v1/identity-providers/<uuid:provider_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"provider_id": "identity_provider"}, {"name": "stolen"}, of_tenant=True
    ),
}

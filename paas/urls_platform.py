"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path

from accounts import tenants_api
from accounts.tokens_api import Login, LoginTenant, Logout, Refresh
from agents.quota_api import TenantLimit, TenantLimits
from chat.api import NotFound
from portal import forgotten, identity_pages, login_code, oidc, platform, profile, security, sign_in, sign_up

urlpatterns = [
    path("", platform.front),
    path("admin/login/", sign_in.console),
    # the second factor
    path("accounts/login/code/", login_code.show),
    path("accounts/login/code/passkey/", login_code.passkey),
    path("accounts/profile/security/", include(security.urls)),
    path("admin/", admin.site.urls),
    # signing in on the platform host
    path("accounts/login/", sign_in.sign_in),
    path("accounts/logout/", sign_in.sign_out),
    # sign-in with providers: one address for all of them to come back to
    path("accounts/oidc/", oidc.land),
    path("accounts/oidc/callback/<str:whose>/", oidc.callback),
    path("accounts/oidc/<str:key>/", oidc.begin),
    path("accounts/handover/", platform.hand_over),
    path("accounts/forgot/", forgotten.ask),
    path("accounts/reset/<str:code>/", forgotten.reset),
    path("accounts/profile/", profile.show),
    path("accounts/profile/email/<str:code>/", profile.email),
    path("accounts/profile/sessions/<uuid:session_id>/end/", profile.end_session),
    path("accounts/profile/sessions/end-all/", profile.end_everywhere),
    path("accounts/profile/identities/", identity_pages.identities),
    path("workspaces/", platform.workspaces),
    path("i18n/", include("django.conf.urls.i18n")),
    # Workspaces: sign-up, the way back from a deletion, the operator's API.
    path("signup/", sign_up.ask),
    path("signup/slug/", sign_up.slug),
    path("signup/<str:token>/", sign_up.link),
    path("restore/<str:code>/", sign_up.restore),
    path("api/v1/tenants", tenants_api.TenantList.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>", tenants_api.TenantDetail.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/progress", tenants_api.TenantProgress.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/suspend", tenants_api.TenantSuspend.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/resume", tenants_api.TenantResume.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/restore", tenants_api.TenantRestore.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/limits", TenantLimits.as_view()),
    path("api/v1/tenants/<uuid:tenant_id>/limits/<uuid:limit_id>", TenantLimit.as_view()),
    # sign-in for programs
    path("api/auth/login", Login.as_view()),
    path("api/auth/login/tenant", LoginTenant.as_view()),
    path("api/auth/refresh", Refresh.as_view()),
    path("api/auth/logout", Logout.as_view()),
    re_path(r"^api/", NotFound.as_view()),
]

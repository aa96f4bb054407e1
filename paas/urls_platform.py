"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path

from accounts.tokens_api import Login, LoginTenant, Logout, Refresh
from chat.api import NotFound
from portal import forgotten, platform, profile, sign_in, sign_up

urlpatterns = [
    path("", platform.front),
    path("admin/login/", sign_in.console),
    path("admin/", admin.site.urls),
    # signing in on the platform host
    path("accounts/login/", sign_in.sign_in),
    path("accounts/logout/", sign_in.sign_out),
    path("accounts/handover/", platform.hand_over),
    path("accounts/forgot/", forgotten.ask),
    path("accounts/reset/<str:code>/", forgotten.reset),
    path("accounts/profile/", profile.show),
    path("accounts/profile/email/<str:code>/", profile.email),
    path("accounts/profile/sessions/<uuid:session_id>/end/", profile.end_session),
    path("accounts/profile/sessions/end-all/", profile.end_everywhere),
    path("workspaces/", platform.workspaces),
    path("i18n/", include("django.conf.urls.i18n")),
    # Workspaces: sign-up, the way back from a deletion, the operator's API.
    path("signup/", sign_up.ask),
    path("signup/slug/", sign_up.slug),
    path("signup/<str:token>/", sign_up.link),
    path("restore/<str:code>/", sign_up.restore),
    # sign-in for programs
    path("api/auth/login", Login.as_view()),
    path("api/auth/login/tenant", LoginTenant.as_view()),
    path("api/auth/refresh", Refresh.as_view()),
    path("api/auth/logout", Logout.as_view()),
    re_path(r"^api/", NotFound.as_view()),
]

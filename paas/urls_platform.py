"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from accounts.tokens_api import Login, LoginTenant, Logout, Refresh
from chat.api import NotFound
from portal import console_sign_in, login_code, sign_up

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    # The second factor, in the console too.
    path("admin/login/", console_sign_in.console),
    path("accounts/login/code/", login_code.show),
    path("accounts/login/code/passkey/", login_code.passkey),
    path("admin/", admin.site.urls),
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

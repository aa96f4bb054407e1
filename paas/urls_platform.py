"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from chat.api import NotFound
from portal import oidc, sign_in, sign_up

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/login/", sign_in.console),
    path("admin/", admin.site.urls),
    # signing in on the platform host
    path("accounts/login/", sign_in.sign_in),
    path("accounts/logout/", sign_in.sign_out),
    # sign-in with providers: one address for all of them to come back to
    path("accounts/oidc/", oidc.land),
    path("accounts/oidc/callback/<str:whose>/", oidc.callback),
    path("accounts/oidc/<str:key>/", oidc.begin),
    path("i18n/", include("django.conf.urls.i18n")),
    # Workspaces: sign-up, the way back from a deletion, the operator's API.
    path("signup/", sign_up.ask),
    path("signup/slug/", sign_up.slug),
    path("signup/<str:token>/", sign_up.link),
    path("restore/<str:code>/", sign_up.restore),
    re_path(r"^api/", NotFound.as_view()),
]

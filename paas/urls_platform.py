"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from chat.api import NotFound
from portal import sign_up

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/", http_method_names=["get", "head"])),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    # Workspaces: sign-up, the way back from a deletion, the operator's API.
    path("signup/", sign_up.ask),
    path("signup/slug/", sign_up.slug),
    path("signup/<str:token>/", sign_up.link),
    path("restore/<str:code>/", sign_up.restore),
    re_path(r"^api/", NotFound.as_view()),
]

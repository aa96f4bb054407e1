"""Pages of the platform host."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from accounts import tenants_api
from chat.api import NotFound
from portal import sign_up

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
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
    re_path(r"^api/", NotFound.as_view()),
]

"""Pages and API of a tenant's host. The streaming doors (/v1, /api/v1/runs, /ws) are in paas/asgi.py."""

from django.urls import include, path, re_path

from accounts.api import Me, MySession, MySessions, SignOutEverywhere
from accounts.audit_api import AuditExport, AuditList
from accounts.tokens_api import Login, LoginTenant, Logout, Refresh
from agents.api import AgentList
from chat import api as chat
from portal import audit, forgotten, impersonation, platform, profile, sign_in, views

api = [
    path("me", Me.as_view()),
    path("me/sessions", MySessions.as_view()),
    path("me/sessions/<uuid:session_id>", MySession.as_view()),
    path("me/sign-out-everywhere", SignOutEverywhere.as_view()),
    path("agents", AgentList.as_view()),
    path("conversations", chat.ConversationList.as_view()),
    path("conversations/<uuid:conversation_id>", chat.ConversationDetail.as_view()),
    path("conversations/<uuid:conversation_id>/restore", chat.ConversationRestore.as_view()),
    path("conversations/<uuid:conversation_id>/messages", chat.ConversationMessages.as_view()),
    path("ws-ticket", chat.WebsocketTicket.as_view()),
    # the audit log
    path("audit", AuditList.as_view()),
    path("audit/export", AuditExport.as_view()),
]

urlpatterns = [
    path("", views.home),
    path("login/", sign_in.sign_in, name="login"),
    path("logout/", sign_in.sign_out, name="logout"),
    path("login/platform/", platform.accept),
    path("login/forgot/", forgotten.ask),
    path("login/reset/<str:code>/", forgotten.reset),
    # a person's profile
    path("profile/", profile.show),
    path("profile/email/<str:code>/", profile.email),
    path("profile/sessions/<uuid:session_id>/end/", profile.end_session),
    path("profile/sessions/end-all/", profile.end_everywhere),
    path("chat/", views.chat, name="chat"),
    path("chat/<uuid:conversation_id>/", views.chat),
    path("i18n/", include("django.conf.urls.i18n")),
    # the audit log; an operator who acts as somebody
    path("settings/audit/", audit.log, name="audit"),
    path("impersonate/", impersonation.begin),
    path("impersonate/end/", impersonation.end),
    # sign-in for programs
    path("api/auth/login", Login.as_view()),
    path("api/auth/login/tenant", LoginTenant.as_view()),
    path("api/auth/refresh", Refresh.as_view()),
    path("api/auth/logout", Logout.as_view()),
    path("api/v1/", include(api)),
    re_path(r"^api/", chat.NotFound.as_view()),
]
handler404 = "portal.views.page_not_found"
handler500 = "portal.views.page_failed"

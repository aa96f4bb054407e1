"""Pages and API of a tenant's host. The streaming doors (/v1, /api/v1/runs, /ws) are in paas/asgi.py."""

from django.urls import include, path, re_path

from accounts.api import Me
from accounts.audit_api import AuditExport, AuditList
from agents.api import AgentList
from chat import api as chat
from portal import audit, billing, impersonation, views
from usage.api import InvoiceDetail, InvoiceList, StatementDetail

api = [
    path("me", Me.as_view()),
    path("agents", AgentList.as_view()),
    path("conversations", chat.ConversationList.as_view()),
    path("conversations/<uuid:conversation_id>", chat.ConversationDetail.as_view()),
    path("conversations/<uuid:conversation_id>/restore", chat.ConversationRestore.as_view()),
    path("conversations/<uuid:conversation_id>/messages", chat.ConversationMessages.as_view()),
    path("ws-ticket", chat.WebsocketTicket.as_view()),
    # the audit log
    path("audit", AuditList.as_view()),
    path("audit/export", AuditExport.as_view()),
    # usage and bills
    path("usage/statement", StatementDetail.as_view()),
    path("usage/invoices", InvoiceList.as_view()),
    path("usage/invoices/<str:number>", InvoiceDetail.as_view()),
]

urlpatterns = [
    path("", views.home),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", views.sign_out, name="logout"),
    path("chat/", views.chat, name="chat"),
    path("chat/<uuid:conversation_id>/", views.chat),
    path("i18n/", include("django.conf.urls.i18n")),
    # the audit log; an operator who acts as somebody
    path("settings/audit/", audit.log, name="audit"),
    path("impersonate/", impersonation.begin),
    path("impersonate/end/", impersonation.end),
    # usage and bills
    path("settings/billing/", billing.overview, name="billing"),
    path("settings/billing/invoices/<str:number>/", billing.invoice),
    path("api/v1/", include(api)),
    re_path(r"^api/", chat.NotFound.as_view()),
]
handler404 = "portal.views.page_not_found"
handler500 = "portal.views.page_failed"

"""Pages and API of a tenant's host. The streaming doors (/v1, /api/v1/runs, /ws) are in paas/asgi.py."""

from django.urls import include, path, re_path

from accounts.api import Me, MySession, MySessions, SignOutEverywhere
from accounts.audit_api import AuditExport, AuditList
from accounts.identity_api import ProviderDetail, ProviderList
from accounts.members_api import (
    InvitationDetail,
    InvitationList,
    InvitationResend,
    Leave,
    MemberDetail,
    MemberList,
    OwnerTransfer,
)
from accounts.notices_api import NoticeList
from accounts.tokens_api import Login, LoginTenant, Logout, Refresh
from agents import release_api as releases
from agents.api import AgentList
from agents.mcp.api import (
    McpServerApprove,
    McpServerConnection,
    McpServerDetail,
    McpServerList,
    McpServerRefresh,
)
from agents.memory_api import MemoryDetail, MemoryExport, MemoryList, MemorySetting
from agents.quota_api import LimitDetail, LimitList, QuotaList
from agents.tools_api import ToolConfig, ToolDetail, ToolList, ToolTry, ToolUsage
from chat import api as chat
from chat import feedback_api as feedback
from chat import file_api as files
from chat.schedule_api import ScheduleDetail, ScheduleList, ScheduleRunNow, ScheduleRuns
from knowledge import api as knowledge
from knowledge import upload_api as uploads
from llm.api import ProviderDetail as ModelProvider
from llm.api import ProviderKinds, ProviderModels, ProviderTest
from llm.api import ProviderList as ModelProviders
from portal import (
    agent_editor,
    agent_feedback,
    agent_files,
    agent_versions,
    agents,
    approvals,
    audit,
    billing,
    branding,
    conversations,
    dashboard,
    forgotten,
    http_tools,
    identity_pages,
    impersonation,
    invitations,
    keys,
    knowledge_documents,
    knowledge_picture,
    knowledge_reader,
    knowledge_trial,
    limits,
    login_code,
    mcp_callback,
    mcp_connecting,
    mcp_servers,
    members,
    memory,
    model_providers,
    oidc,
    platform,
    profile,
    schedules,
    security,
    sign_in,
    tools,
    views,
    workspace,
)
from portal import knowledge as knowledge_pages
from usage.api import InvoiceDetail, InvoiceList, StatementDetail
from usage.key_api import KeyDetail, KeyList, KeyRotation

api = [
    path("me", Me.as_view()),
    path("me/sessions", MySessions.as_view()),
    path("me/sessions/<uuid:session_id>", MySession.as_view()),
    path("me/sign-out-everywhere", SignOutEverywhere.as_view()),
    path("notices", NoticeList.as_view()),
    path("agents", AgentList.as_view()),
    path("conversations", chat.ConversationList.as_view()),
    path("conversations/<uuid:conversation_id>", chat.ConversationDetail.as_view()),
    path("conversations/<uuid:conversation_id>/restore", chat.ConversationRestore.as_view()),
    path("conversations/<uuid:conversation_id>/messages", chat.ConversationMessages.as_view()),
    path("conversations/<uuid:conversation_id>/active", chat.ConversationActive.as_view()),
    path("conversations/<uuid:conversation_id>/files", files.FileList.as_view()),
    path("conversations/<uuid:conversation_id>/files/<uuid:file_id>", files.FileDetail.as_view()),
    path("ws-ticket", chat.WebsocketTicket.as_view()),
    # model providers
    path("providers", ModelProviders.as_view()),
    path("providers/kinds", ProviderKinds.as_view()),
    path("providers/test", ProviderTest.as_view()),
    path("providers/<uuid:provider_id>", ModelProvider.as_view()),
    path("providers/<uuid:provider_id>/models", ProviderModels.as_view()),
    path("providers/<uuid:provider_id>/test", ProviderTest.as_view()),
    # limits and what is left of them
    path("quotas", QuotaList.as_view()),
    path("limits", LimitList.as_view()),
    path("limits/<uuid:limit_id>", LimitDetail.as_view()),
    # tools
    path("tools", ToolList.as_view()),
    path("tools/usage", ToolUsage.as_view()),
    path("tools/config", ToolConfig.as_view()),
    path("tools/<uuid:tool_id>", ToolDetail.as_view()),
    path("tools/<uuid:tool_id>/try", ToolTry.as_view()),
    # schedules
    path("schedules", ScheduleList.as_view()),
    path("schedules/<uuid:schedule_id>", ScheduleDetail.as_view()),
    path("schedules/<uuid:schedule_id>/run-now", ScheduleRunNow.as_view()),
    path("schedules/<uuid:schedule_id>/runs", ScheduleRuns.as_view()),
    # knowledge
    path("knowledge", knowledge.KnowledgeList.as_view()),
    path("knowledge/<str:slug>", knowledge.KnowledgeDetail.as_view()),
    path("knowledge/<str:slug>/search", knowledge.KnowledgeSearch.as_view()),
    path("knowledge/<str:slug>/reindex", knowledge.KnowledgeReindex.as_view()),
    path("knowledge/<str:slug>/files", knowledge.DocumentFiles.as_view()),
    path("knowledge/<str:slug>/documents", knowledge.DocumentList.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>", knowledge.DocumentDetail.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/files", knowledge.DocumentReplace.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/retry", knowledge.DocumentRetry.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/refetch", knowledge.DocumentRefetch.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/cancel", knowledge.DocumentCancel.as_view()),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/chunks", knowledge.DocumentChunks.as_view()),
    path("knowledge/<str:slug>/uploads", uploads.UploadList.as_view()),
    path("knowledge/<str:slug>/uploads/<uuid:upload_id>", uploads.UploadDetail.as_view()),
    # MCP servers
    path("mcp-servers", McpServerList.as_view()),
    path("mcp-servers/<uuid:server_id>", McpServerDetail.as_view()),
    path("mcp-servers/<uuid:server_id>/refresh", McpServerRefresh.as_view()),
    path("mcp-servers/<uuid:server_id>/approve", McpServerApprove.as_view()),
    path("mcp-servers/<uuid:server_id>/connection", McpServerConnection.as_view()),
    # what agents noted about the person
    path("memories", MemoryList.as_view()),
    path("memories/export", MemoryExport.as_view()),
    path("memories/setting", MemorySetting.as_view()),
    path("memories/<uuid:memory_id>", MemoryDetail.as_view()),
    # the audit log
    path("audit", AuditList.as_view()),
    path("audit/export", AuditExport.as_view()),
    # usage and bills
    path("usage/statement", StatementDetail.as_view()),
    path("usage/invoices", InvoiceList.as_view()),
    path("usage/invoices/<str:number>", InvoiceDetail.as_view()),
    # making and releasing agents
    path("agent-imports", releases.AgentImport.as_view()),
    path("agents/<str:slug>", releases.AgentDetail.as_view()),
    path("agents/<str:slug>/restore", releases.AgentRestore.as_view()),
    path("agents/<str:slug>/draft", releases.AgentDraft.as_view()),
    path("agents/<str:slug>/versions", releases.AgentVersions.as_view()),
    path("agents/<str:slug>/versions/<str:number>", releases.AgentVersionDetail.as_view()),
    path("agents/<str:slug>/diff", releases.AgentDiff.as_view()),
    path("agents/<str:slug>/publish", releases.AgentPublish.as_view()),
    path("agents/<str:slug>/rollback", releases.AgentRollBack.as_view()),
    path("agents/<str:slug>/export", releases.AgentExport.as_view()),
    # feedback on answers
    path("agents/<str:slug>/feedback", feedback.AgentFeedback.as_view()),
    path("messages/<uuid:message_id>/feedback", feedback.MessageFeedback.as_view()),
    # API keys
    path("keys", KeyList.as_view()),
    path("keys/<uuid:key_id>", KeyDetail.as_view()),
    path("keys/<uuid:key_id>/rotate", KeyRotation.as_view()),
    # sign-in with providers
    path("identity-providers", ProviderList.as_view()),
    path("identity-providers/<uuid:provider_id>", ProviderDetail.as_view()),
    # people
    path("members", MemberList.as_view()),
    path("members/leave", Leave.as_view()),
    path("members/<uuid:user_id>", MemberDetail.as_view()),
    path("owner-transfer", OwnerTransfer.as_view()),
    path("invitations", InvitationList.as_view()),
    path("invitations/<uuid:invitation_id>", InvitationDetail.as_view()),
    path("invitations/<uuid:invitation_id>/resend", InvitationResend.as_view()),
]

urlpatterns = [
    path("api/v1/", include(api)),  # first: what stands before it is tried, and noted, for each request of a program
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
    # the dashboard, and conversations
    path("settings/", dashboard.overview, name="dashboard"),
    path("settings/guide/", dashboard.guide),
    path("settings/conversations/", conversations.index, name="conversations"),
    path("settings/conversations/<uuid:conversation_id>/export/", conversations.export),
    path("settings/conversations/<uuid:conversation_id>/delete/", conversations.delete),
    path("settings/conversations/<uuid:conversation_id>/restore/", conversations.restore),
    # sign-in with providers
    path("login/oidc/", oidc.land),
    path("login/oidc/<str:key>/", oidc.begin),
    path("profile/identities/", identity_pages.identities),
    path("settings/providers/", model_providers.index),
    path("settings/providers/new/", model_providers.add),
    path("settings/providers/<uuid:provider_id>/", model_providers.edit),
    path("settings/mcp-servers/callback/", mcp_callback.callback),
    path("settings/sign-in/", identity_pages.providers),
    path("settings/sign-in/new/", identity_pages.add),
    path("settings/sign-in/<uuid:provider_id>/", identity_pages.edit),
    path("settings/sign-in/<uuid:provider_id>/test/", identity_pages.test),
    # the audit log; an operator who acts as somebody
    path("settings/audit/", audit.log, name="audit"),
    path("impersonate/", impersonation.begin),
    path("impersonate/end/", impersonation.end),
    # usage and bills
    path("settings/limits/", limits.overview, name="limits"),
    path("settings/billing/", billing.overview, name="billing"),
    path("settings/billing/invoices/<str:number>/", billing.invoice),
    # the second factor
    path("login/code/", login_code.show, name="login_code"),
    path("login/code/passkey/", login_code.passkey),
    path("profile/security/", include(security.urls)),
    # people
    path("settings/members/", members.people, name="members"),
    path("settings/members/leave/", members.leave),
    path("settings/members/transfer/", members.transfer),
    path("settings/members/<uuid:user_id>/role/", members.role_change),
    path("settings/members/<uuid:user_id>/remove/", members.remove),
    path("settings/invitations/<uuid:invitation_id>/resend/", members.resend),
    path("settings/invitations/<uuid:invitation_id>/revoke/", members.revoke),
    path("invitations/<str:token>/", invitations.accept),
    # the workspace itself
    path("settings/workspace/", workspace.workspace),
    path("branding.css", branding.style),
    path("branding/logo", branding.logo),
    # sign-in for programs
    path("api/auth/login", Login.as_view()),
    path("api/auth/login/tenant", LoginTenant.as_view()),
    path("api/auth/refresh", Refresh.as_view()),
    path("api/auth/logout", Logout.as_view()),
    # calls of tools that wait for a person
    path("settings/approvals/", approvals.index, name="approvals"),
    path("settings/approvals/<uuid:approval_id>/", approvals.one),
    # schedules
    path("settings/memory/", memory.index, name="memory"),
    path("settings/memory/<uuid:memory_id>/delete/", memory.delete),
    path("settings/schedules/", schedules.index, name="schedules"),
    path("settings/schedules/new/", schedules.new),
    path("settings/schedules/<uuid:schedule_id>/", schedules.change),
    path("settings/schedules/<uuid:schedule_id>/pause/", schedules.pause),
    path("settings/schedules/<uuid:schedule_id>/run-now/", schedules.run_now),
    path("settings/schedules/<uuid:schedule_id>/delete/", schedules.delete),
    # API keys
    path("settings/keys/", keys.index, name="keys"),
    path("settings/keys/new/", keys.new),
    path("settings/keys/<uuid:key_id>/", keys.change),
    path("settings/keys/<uuid:key_id>/rotate/", keys.rotate),
    path("settings/keys/<uuid:key_id>/revoke/", keys.revoke),
    # agents. An agent may be called "new", so what belongs to none of them stands beside their addresses.
    path("settings/new-agent/", agents.new),
    path("settings/agent-imports/", agent_files.take_in),
    path("settings/agents/", agents.index, name="agents"),
    path("settings/agents/<str:slug>/", agent_editor.edit),
    path("settings/agents/<str:slug>/discard/", agent_editor.discard),
    path("settings/agents/<str:slug>/publish/", agent_versions.publish),
    path("settings/agents/<str:slug>/versions/", agent_versions.index),
    path("settings/agents/<str:slug>/rollback/", agent_versions.go_back),
    path("settings/agents/<str:slug>/export/", agent_files.export),
    path("settings/agents/<str:slug>/feedback/", agent_feedback.index),
    path("settings/agents/<str:slug>/archive/", agents.archive),
    path("settings/agents/<str:slug>/restore/", agents.restore),
    # knowledge; no base is called "new" (knowledge/bases.py)
    path("settings/knowledge/", knowledge_pages.index, name="knowledge"),
    path("settings/knowledge/new/", knowledge_pages.new),
    path("settings/knowledge/<str:slug>/", knowledge_documents.index),
    path("settings/knowledge/<str:slug>/add/", knowledge_documents.add),
    path("settings/knowledge/<str:slug>/try/", knowledge_trial.attempt),
    path("settings/knowledge/<str:slug>/settings/", knowledge_pages.settings),
    path("settings/knowledge/<str:slug>/delete/", knowledge_pages.delete),
    path("settings/knowledge/<str:slug>/retry/", knowledge_documents.retry_failed),
    path("settings/knowledge/<str:slug>/documents/<uuid:document_id>/", knowledge_documents.one),
    path("settings/knowledge/<str:slug>/documents/<uuid:document_id>/retry/", knowledge_documents.retry),
    path("settings/knowledge/<str:slug>/documents/<uuid:document_id>/cancel/", knowledge_documents.cancel),
    path("settings/knowledge/<str:slug>/documents/<uuid:document_id>/delete/", knowledge_documents.delete),
    path("settings/knowledge/<str:slug>/documents/<uuid:document_id>/fetch/", knowledge_documents.fetch),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/", knowledge_reader.read),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/file/", knowledge_reader.download),
    path("knowledge/<str:slug>/documents/<uuid:document_id>/picture/", knowledge_picture.picture),
    # tools and MCP servers
    path("settings/tools/", tools.index, name="tools"),
    path("settings/tools/named/<str:name>/", tools.settings),
    path("settings/tools/new/", http_tools.new),
    path("settings/tools/<uuid:tool_id>/", http_tools.change),
    path("settings/tools/<uuid:tool_id>/try/", http_tools.attempt),
    path("settings/tools/<uuid:tool_id>/switch/", http_tools.switch),
    path("settings/tools/<uuid:tool_id>/delete/", http_tools.delete),
    path("settings/mcp/", mcp_servers.index, name="mcp"),
    path("settings/mcp/new/", mcp_servers.add),
    path("settings/mcp/<uuid:server_id>/", mcp_servers.edit),
    path("settings/mcp/<uuid:server_id>/refresh/", mcp_servers.refresh),
    path("settings/mcp/<uuid:server_id>/approve/", mcp_servers.approve),
    path("settings/mcp/<uuid:server_id>/delete/", mcp_servers.delete),
    path("settings/mcp/<uuid:server_id>/connect/", mcp_connecting.connect),
    path("settings/mcp/<uuid:server_id>/disconnect/", mcp_connecting.disconnect),
    re_path(r"^api/", chat.NotFound.as_view()),
]
handler404 = "portal.views.page_not_found"
handler500 = "portal.views.page_failed"

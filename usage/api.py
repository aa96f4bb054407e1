"""Statements and invoices over the API."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import USAGE_READ
from core import clock
from core.errors import PaasError
from usage import downloads, invoices, statements


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(USAGE_READ)
    return request.auth


class StatementDetail(APIView):
    """`GET /api/v1/usage/statement?month=YYYY-MM`: the month's entries added up, the present month without one.

    `format=json` or `csv` gives it as a file.
    """

    def get(self, request: Request) -> Response | HttpResponse:
        tenant = _actor(request).tenant
        asked = request.query_params
        month = statements.month_named(asked["month"]) if asked.get("month") else clock.month_of(clock.now())
        format_ = asked.get("format", "")
        if format_ and format_ not in downloads.FORMATS:
            raise PaasError("validation_failed", "The format is json or csv.", details={"param": "format"})
        statement = statements.statement_of(tenant.id, month)
        if format_:
            return downloads.statement_file(statement, tenant, format_)
        return Response(downloads.statement_view(statement, tenant))


class InvoiceList(APIView):
    """`GET /api/v1/usage/invoices`: the newest 500, credit notes too, newest first."""

    def get(self, request: Request) -> Response:
        _actor(request)
        return Response({"invoices": [downloads.invoice_view(one) for one in invoices.issued()[:500]]})


class InvoiceDetail(APIView):
    """`GET /api/v1/usage/invoices/INV-000001`: with its lines; `.csv` or `.json` after the number gives a file."""

    def get(self, request: Request, number: str) -> Response | HttpResponse:
        _actor(request)
        label, dot, format_ = number.partition(".")
        if dot and format_ not in downloads.FORMATS:
            raise PaasError("not_found")
        invoice = invoices.invoice_named(label)
        if format_:
            return downloads.invoice_file(invoice, format_)
        shown: dict[str, Any] = downloads.invoice_view(invoice, whole=True)
        return Response(shown)

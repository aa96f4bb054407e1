from django.apps import AppConfig


class PaasConfig(AppConfig):
    name = "paas"

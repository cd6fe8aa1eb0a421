"""How outlier-relay is configured for each vendor of the stand-in; only the addresses are not the vendor's own."""

from __future__ import annotations

from collections.abc import Callable

from programs import Json
from saas.client import Saas
from saas.vendors import azure

KeyFile = Callable[[str, str], str]  # name, content -> path


def sink_of(vendor: str, saas: Saas, key_file: KeyFile) -> Json:
    """The entry of relay.yaml without its name, by the vendor's name in the stand-in."""
    url = saas.url(vendor)

    def key(vendor: str = vendor) -> str:
        return key_file(f"{vendor}.key", saas.key(vendor))

    match vendor:
        case "pagerduty":
            return {"pagerduty": {"routing_key_file": key(), "url": url}}
        case "opsgenie":
            return {"opsgenie": {"api_key_file": key(), "url": url, "responders": ["team:database"]}}
        case "jira_service_management":
            return {"jira_service_management": {"api_key_file": key(), "url": url + "/jsm/ops/integration"}}
        case "victorops":
            return {"splunk_on_call": {"api_key_file": key(), "routing_key": "ops", "url": url}}
        case "slack":
            return {"slack": {"webhook_url_file": key_file("slack.url", saas.url("slack", "/services/" + saas.key("slack")))}}
        case "webhook":
            return {"webhook": {"url": saas.url("webhook", "/webhook/ops"), "secret_file": key()}}
        case "datadog":
            return {"datadog": {"api_key_file": key(), "events_url": url, "metrics_url": url}}
        case "new_relic":
            return {"new_relic": {"account_id": "1234567", "license_key_file": key(), "url": url}}
        case "dynatrace":
            return {"dynatrace": {"url": url, "token_file": key()}}
        case "instana":
            return {"instana": {"url": url}}
        case "azure":
            secret = saas.key("entra").partition(":")[2]
            credentials = {"token_url": saas.url("entra", f"/{azure.TENANT}/oauth2/v2.0/token"), "client_id": azure.CLIENT,
                           "client_secret_file": key_file("azure.secret", secret)}  # fmt: skip
            return {"azure_logs": {"url": url, "rule_id": azure.RULE, "credentials": credentials}}
        case _:
            raise ValueError(f"no sink is known for {vendor}")

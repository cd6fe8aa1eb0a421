"""One line for each vendor."""

from __future__ import annotations

from ..core import Vendor
from .azure import Azure, Entra
from .datadog import Datadog
from .dynatrace import Dynatrace
from .elastic_otlp import ElasticOtlp
from .grafana_cloud import GrafanaCloud
from .instana import Instana, InstanaOtlp
from .jira_service_management import JiraServiceManagement
from .new_relic import NewRelic
from .opsgenie import Opsgenie
from .pagerduty import PagerDuty
from .slack import Slack
from .victorops import VictorOps
from .webhook import Webhook

VENDORS: list[type[Vendor]] = [
    PagerDuty,
    Opsgenie,
    JiraServiceManagement,
    VictorOps,
    Slack,
    Webhook,
    Datadog,
    NewRelic,
    Dynatrace,
    Instana,
    InstanaOtlp,
    Entra,
    Azure,
    GrafanaCloud,
    ElasticOtlp,
]

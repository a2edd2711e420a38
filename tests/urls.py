"""What a URL in an attribute may hold."""

from __future__ import annotations

import re

URL = re.compile(r"(?:[A-Za-z0-9\-._~:/?#@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")  # RFC 3986; brackets are for hosts only

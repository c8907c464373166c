"""Verifies deliveries with the library of Standard Webhooks, and by hand as the reference product's documentation says.

Reads lines of JSON {"secret", "id", "timestamp", "signature", "reference", "body"}; says ok or what is wrong, a line each.
"""
import base64, hashlib, hmac, json, sys
from datetime import datetime, timezone
from unittest import mock
from standardwebhooks.webhooks import Webhook

for line in sys.stdin:
    given = json.loads(line)
    headers = {
        "webhook-id": given["id"],
        "webhook-timestamp": given["timestamp"],
        "webhook-signature": given["signature"],
    }
    try:
        at = datetime.fromtimestamp(int(given["timestamp"]), tz=timezone.utc)
        # The test's clock is not the library's.
        with mock.patch("standardwebhooks.webhooks.datetime") as clock:
            clock.now.return_value = at
            clock.fromtimestamp = datetime.fromtimestamp
            Webhook(given["secret"]).verify(given["body"], headers)
        if given["reference"]:
            parts = dict(part.split("=", 1) for part in given["reference"].split(","))
            message = (parts["t"] + "." + given["body"]).encode()
            expected = base64.b64encode(hmac.new(given["secret"].encode(), message, hashlib.sha256).digest()).decode()
            assert hmac.compare_digest(expected, parts["v1"]), "the reference's signature"
        print("ok")
    except Exception as error:
        print(f"wrong: {type(error).__name__} {error}")

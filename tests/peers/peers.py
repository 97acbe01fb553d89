"""Other people's packages sign for, or verify, a running hub. The first check that fails ends it."""
import base64
import datetime
import json
import os
import subprocess
import urllib.error
import urllib.request

import standardwebhooks
import stripe
import svix

HUB, SECRET, STOCKHUB = os.environ["HUB"], os.environ["SECRET"], os.environ["STOCKHUB"]
KEY = "whsec_" + base64.b64encode(SECRET.encode()).decode()


def post(code, headers, body):
    request = urllib.request.Request(f"{HUB}/webhooks/{code}", data=body.encode(), headers=headers, method="POST")
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


now = datetime.datetime.now(tz=datetime.timezone.utc)
for code, prefix, package in [("standard", "webhook", standardwebhooks.Webhook), ("svix", "svix", svix.Webhook)]:
    body = json.dumps({"event": "stock.seen", "id": f"py_{code}", "note": "é ✓"})
    headers = {
        f"{prefix}-id": f"py_{code}",
        f"{prefix}-timestamp": str(int(now.timestamp())),
        f"{prefix}-signature": package(KEY).sign(f"py_{code}", now, body),
    }
    assert post(code, headers, body) == 200, code
    assert post(code, headers, body + " ") == 401, code
    print(f"ok {code} (Python): the package signs, the hub believes")

body = json.dumps({"id": "py_stripe", "object": "event"})
signed = subprocess.run(
    [STOCKHUB, "webhook", "sign", "--scheme", "stripe", "--secret", "env:SECRET"], input=body.encode(), capture_output=True, check=True
)
header = signed.stdout.decode().strip().split(": ", 1)[1]
stripe.WebhookSignature.verify_header(body, header, SECRET, 300)
try:
    stripe.WebhookSignature.verify_header(body + " ", header, SECRET, 300)
    raise SystemExit("stripe (Python): a changed body was taken")
except stripe.SignatureVerificationError:
    print("ok stripe (Python): the hub signs, the package believes")
print("all peers agree")

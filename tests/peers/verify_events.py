"""Verifies recorded deliveries with the official Standard Webhooks library, and that a changed one is refused.

Usage: verify_events.py FILE, with {"secret": "whsec_…", "deliveries": [{"headers": {…}, "body": "…"}]}.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    recorded = json.load(file)
webhook = Webhook(recorded["secret"])
if not recorded["deliveries"]:
    sys.exit("nothing was delivered")
for delivery in recorded["deliveries"]:
    event = webhook.verify(delivery["body"], delivery["headers"])
    if event["eventId"] != delivery["headers"]["webhook-id"]:
        sys.exit(f"webhook-id is not the event's id: {delivery}")
    try:
        webhook.verify(delivery["body"] + " ", delivery["headers"])
    except WebhookVerificationError:
        continue
    sys.exit("a changed body was taken")
print(f"{len(recorded['deliveries'])} deliveries verified, and refused when changed")

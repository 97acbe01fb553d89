"""Schemathesis against a running hub: generated requests for every operation of /openapi.json, good and bad ones, one by one and as chains.
It must find no 5xx, no status, type of answer or shape that is not described. HUB, TOKEN and STORE_KEY come from the environment;
the first argument is the folder that pip installed into."""

import json
import os
import subprocess
import sys
import urllib.request

HUB, TOKEN, STORE_KEY = (os.environ[name] for name in ("HUB", "TOKEN", "STORE_KEY"))
# A stream answers for as long as somebody listens, and a WebSocket is no request.
STREAMS = "^/v1/stock/(ws|stream|poll)$|^/v1/admin/live$"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
# Where a chance request would end the run's own right to ask.
LAST = "^/v1/auth/logout$"


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(HUB + path, data, headers, method=method)) as answer:
        return json.load(answer)


def phase(name, seconds, *more):
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    command = [sys.executable, "-c", program, "run", f"{HUB}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
               "-H", f"X-Storefront-Key: {STORE_KEY}", "--phases", name, "--checks", CHECKS, "--exclude-path-regex", f"{STREAMS}|{LAST}",
               "--max-time", str(seconds), "--seed", "20261126", "--no-shrink", "--continue-on-failure", "--suppress-health-check", "all",
               # One worker: with two, Python 3.11 trips over its own depth of recursion.
               "--workers", "1", "--request-timeout", "30", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 4 + 60)
    summary = done.stdout[done.stdout.find("= SUMMARY ="):]
    if done.returncode != 0:
        print(done.stdout[-20_000:], done.stderr[-4_000:])
        raise SystemExit(f"schemathesis found something in the phase {name}")
    print(f"{name}: {' '.join(line.strip() for line in summary.splitlines() if 'generated' in line or 'Tested' in line)}")


def main():
    # Something to find: what is not there is answered 404 whatever else is wrong.
    for sku in ("A-1", "B-2"):
        call("POST", "/v1/admin/products", {"sku": sku, "name": sku, "initial_stock": 1000, "price": {"amount": "1.00", "currency": "USD"}})
    call("POST", "/v1/admin/orders", {"marketplace": "manual", "customer_name": "N", "customer_phone": "1", "items": [{"sku": "A-1", "quantity": 1}]})
    for name, seconds in (("examples", 5), ("coverage", 45), ("fuzzing", 20), ("stateful", 15)):
        phase(name, seconds)
    print("schemathesis found nothing")


main()

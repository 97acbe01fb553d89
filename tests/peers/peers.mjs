// Other people's packages sign for, or verify, a running hub. Prints one line per check; the first that fails ends it.
import { execFileSync } from 'node:child_process';
import assert from 'node:assert';
import { createRequire } from 'node:module';
import { sign as octokit } from '@octokit/webhooks-methods';
import { shopifyApi, ApiVersion, LogSeverity } from '@shopify/shopify-api';
import '@shopify/shopify-api/adapters/node';
import { WebhooksHelper } from 'square';
import { Webhook as Standard } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as Svix } from 'svix';

const { HUB, SECRET, TOKEN, STOCKHUB, WEBHOOK_URL } = process.env;
const standardSecret = 'whsec_' + Buffer.from(SECRET).toString('base64');
let number = 0;
const sale = () =>
  JSON.stringify({ event: 'stock.seen', id: `evt_${++number}`, event_id: `evt_${number}`, note: 'é ✓ \u2028' });

async function accepted(code, headers, body) {
  const send = (bytes) => fetch(`${HUB}/webhooks/${code}`, { method: 'POST', headers, body: bytes });
  const good = await send(body);
  assert.equal(good.status, 200, `${code}: ${await good.text()}`);
  const changed = await send(body.replace('event', 'evens'));
  assert.equal(changed.status, 401, `${code}: a changed body was taken`);
  console.log(`ok ${code}: the package signs, the hub believes`);
}

function signed(scheme, body, more = []) {
  const args = ['webhook', 'sign', '--scheme', scheme, '--secret', 'env:SECRET', ...more];
  const lines = execFileSync(STOCKHUB, args, { input: body }).toString().trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
}

const now = new Date();
const stamp = String(Math.floor(now.getTime() / 1000));
let body = sale();
await accepted('standard', {
  'webhook-id': 'msg_1', 'webhook-timestamp': stamp, 'webhook-signature': new Standard(standardSecret).sign('msg_1', now, body),
}, body);
body = sale();
await accepted('svix', {
  'svix-id': 'msg_2', 'svix-timestamp': stamp, 'svix-signature': new Svix(standardSecret).sign('msg_2', now, body),
}, body);
body = sale();
await accepted('stripe', { 'stripe-signature': Stripe.webhooks.generateTestHeaderString({ payload: body, secret: SECRET }) }, body);
body = sale();
await accepted('github', { 'x-hub-signature-256': await octokit(SECRET, body) }, body);

body = sale();
let headers = signed('standard', body);
assert.ok(headers['webhook-signature'].startsWith('v1,'));
Stripe.webhooks.constructEvent(body, signed('stripe', body)['stripe-signature'], SECRET);
assert.throws(() => Stripe.webhooks.constructEvent(body + ' ', signed('stripe', body)['stripe-signature'], SECRET));
console.log('ok stripe: the hub signs, the package believes');

headers = signed('square', body, ['--webhook-url', WEBHOOK_URL]);
const square = (requestBody) => WebhooksHelper.verifySignature({
  requestBody, signatureHeader: headers['x-square-hmacsha256-signature'], signatureKey: SECRET, notificationUrl: WEBHOOK_URL,
});
assert.equal(await square(body), true);
assert.equal(await square(body + ' '), false);
await accepted('square', headers, body);

headers = signed('shopify', body);
const shopify = shopifyApi({
  apiKey: 'key', apiSecretKey: SECRET, hostName: 'hub.example', apiVersion: Object.values(ApiVersion)[0], isEmbeddedApp: false,
  logger: { level: LogSeverity.Error },
});
const rawRequest = {
  method: 'POST', url: '/webhooks/shopify', headers: {
    ...headers, 'x-shopify-topic': 'orders/create', 'x-shopify-shop-domain': 'shop.myshopify.com', 'x-shopify-api-version': '2025-01',
    'x-shopify-webhook-id': 'w-1',
  },
};
assert.equal((await shopify.webhooks.validate({ rawBody: body, rawRequest })).valid, true);
assert.equal((await shopify.webhooks.validate({ rawBody: body + ' ', rawRequest })).valid, false);
await accepted('shopify', headers, body);

const ebay = createRequire(import.meta.url)('event-notification-nodejs-sdk');
const config = { endpoint: WEBHOOK_URL, verificationToken: TOKEN };
const asked = await fetch(`${HUB}/webhooks/ebay?challenge_code=a8628072-3d33-45ee-9004-bee86830a22d`);
assert.equal((await asked.json()).challengeResponse, ebay.validateEndpoint('a8628072-3d33-45ee-9004-bee86830a22d', config));
console.log('ok ebay: the challenge is answered as the package does');
console.log('all peers agree');
process.exit(0);

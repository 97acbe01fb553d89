//! Yandex Market Partner API: a batch is taken or refused as a whole, the writer's own time decides between two writers, a new
//! number is shown only after a while, too many at once are a 420, and what is pushed is not signed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

use super::super::orders::Order;
use super::super::shop::Item;
use super::super::webhooks::{Feed, Reason};
use super::call::{Call, Class, Route, Say};
use super::desk::{Desk, Trouble};
use super::limits::Limit;
use super::{Account, Delivery, Dialect, Habits, News, Notice, Posting, made_up_secret, plain};

const SKUS_MAX: usize = 2_000;
const BODY_MAX_BYTES: usize = 512 * 1024;

const SET: &str = "PUT /v2/campaigns/{campaign}/offers/stocks";
const READ: &str = "POST /v2/campaigns/{campaign}/offers/stocks";
const CAMPAIGNS: &str = "GET /v2/campaigns";
const CAMPAIGN: &str = "GET /v2/campaigns/{campaign}";
const ORDERS: &str = "POST /v1/businesses/{business}/orders";
const ORDER: &str = "GET /v2/campaigns/{campaign}/orders/{id}";

static ROUTES: [Route; 6] = [
    Route::new(SET, Class::Write, &["parallel"]),
    Route::new(READ, Class::Read, &["parallel"]),
    Route::new(CAMPAIGNS, Class::Account, &["parallel"]),
    Route::new(CAMPAIGN, Class::Account, &["parallel"]),
    Route::new(ORDERS, Class::Orders, &["parallel"]),
    Route::new(ORDER, Class::Orders, &["parallel"]),
];

pub(super) struct Yandex;

fn error(status: u16, code: &str, message: &str) -> Say {
    Say::json(status, json!({ "status": "ERROR", "errors": [{ "code": code, "message": message }] }))
}

impl Dialect for Yandex {
    fn habits(&self) -> Habits {
        let (webhooks, webhooks_again, cancel_restocks, whole_orders) = (true, true, true, true);
        // Minutes at the real one; a second shows the same mistakes.
        Habits { webhooks, webhooks_again, cancel_restocks, whole_orders, shown_after: Duration::from_secs(1) }
    }

    fn account(&self, code: &str) -> Account {
        let values = json!({ "campaign_id": 21_000_111, "business_id": 900_222 });
        Account::new(values, &["api_key", "hook_path"].map(|name| (name, made_up_secret(code, name))))
    }

    fn refs(&self, _n: u64, sku: &Sku, _account: &Account) -> Map<String, Value> {
        let mut refs = Map::new();
        refs.insert("offer_id".into(), sku.as_str().into());
        refs
    }

    fn main_ref(&self) -> &'static str {
        "offer_id"
    }

    fn order_id(&self, base: u64, number: u64) -> String {
        (base * 10_000_000 + number).to_string()
    }

    fn limits(&self) -> Vec<Limit> {
        vec![Limit::parallel("parallel", 4), Limit::bucket("skus", 100_000, Duration::from_micros(600))]
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn authorise(&self, call: &Call, account: &Account, _now: Timestamp) -> Result<(), Say> {
        if call.header("api-key") == Some(account.secret("api_key")) {
            return Ok(());
        }
        Err(error(401, "UNAUTHORIZED", "Token is not valid"))
    }

    fn throttled(&self, limit: &'static str, wait: Duration, now: Timestamp) -> Say {
        let until = jiff::Timestamp::from_second(now.plus(wait).seconds() + 1).unwrap_or_default();
        let until = until.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let message = format!("Hit rate limit of {limit}");
        let say = error(420, "METHOD_FAILURE", &message).with("X-RateLimit-Resource-Limit", 4);
        say.with("X-RateLimit-Resource-Remaining", 0).with("X-RateLimit-Resource-Until", until)
    }

    fn answer(&self, route: &'static str, call: &Call, desk: &mut Desk<'_>) -> Say {
        let account = desk.account();
        let ours = match route {
            SET | READ | ORDER | CAMPAIGN => call.part(0) == account.text("campaign_id"),
            ORDERS => call.part(0) == account.text("business_id"),
            _ => true,
        };
        if !ours {
            return error(403, "FORBIDDEN", "Access to the campaign is denied");
        }
        match route {
            SET if call.body.len() > BODY_MAX_BYTES => error(413, "PAYLOAD_TOO_LARGE", "Body is larger than 512 KB"),
            SET => set(&call.json(), desk),
            READ => read(call, desk),
            ORDERS => orders(call, desk),
            ORDER => match desk.book().get(call.part(1)) {
                Some(order) => Say::ok(json!({ "order": rendered(desk, order) })),
                None => error(404, "NOT_FOUND", "Order not found"),
            },
            _ => {
                let (campaign, business) = (desk.account().value("campaign_id"), desk.account().value("business_id"));
                let one = json!({ "id": campaign, "domain": "Simulated", "business": { "id": business, "name": "Simulated" },
                    "placementType": "FBS", "apiAvailability": "AVAILABLE" });
                if route == CAMPAIGN {
                    return Say::ok(json!({ "campaign": one }));
                }
                Say::ok(json!({ "campaigns": [one], "pager": { "total": 1 } }))
            }
        }
    }

    fn greeting(&self, _account: &Account, now: Timestamp) -> Option<Notice> {
        Some(Notice { name: "PING", body: json!({ "notificationType": "PING", "time": now }).to_string() })
    }

    fn notices(&self, news: News<'_>) -> Vec<Notice> {
        let News { feed, reason, trade, order, item, account } = news;
        if feed == Feed::Stock {
            return Vec::new();
        }
        let name = match reason {
            Reason::Sold => "ORDER_CREATED",
            Reason::Cancelled => "ORDER_CANCELLED",
            Reason::Returned => "ORDER_RETURN_CREATED",
        };
        let number: u64 = order.id.parse().unwrap_or(0);
        let mut body = json!({ "notificationType": name, "orderId": number, "campaignId": account.value("campaign_id"),
            "items": [{ "offerId": item.refs["offer_id"], "count": trade.quantity }] });
        let when = match reason {
            Reason::Sold => "createdAt",
            Reason::Cancelled => "cancelledAt",
            Reason::Returned => "createdAt",
        };
        body[when] = json!(trade.at);
        if reason == Reason::Returned {
            body["returnType"] = json!("UNREDEEMED");
            body["returnId"] = json!(number * 10 + 7);
        }
        vec![Notice { name, body: body.to_string() }]
    }

    fn deliver(&self, posting: Posting<'_>) -> Delivery {
        let path = format!("/webhooks/{}/{}", posting.code, posting.account.secret("hook_path"));
        // One of the addresses it sends from, for a hub that trusts this machine as its proxy.
        Delivery { path, headers: vec![("X-Forwarded-For", "5.45.207.9".to_owned())] }
    }

    fn taken(&self, status: u16, body: &[u8]) -> bool {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        status == 200 && ["version", "name", "time"].iter().all(|name| body[name].is_string())
    }
}

fn set(body: &Value, desk: &mut Desk<'_>) -> Say {
    let Some(rows) = body["skus"].as_array() else { return error(400, "BAD_REQUEST", "skus: is required") };
    if rows.is_empty() || rows.len() > SKUS_MAX {
        return error(400, "BAD_REQUEST", "skus: must have 1 to 2000 elements");
    }
    if desk.spend("skus", u32::try_from(rows.len()).unwrap_or(u32::MAX)).is_err() {
        return Yandex.throttled("skus", Duration::from_secs(1), desk.now);
    }
    let mut judged: Vec<(Sku, i64, Timestamp)> = Vec::new();
    let mut fault = None;
    for row in rows {
        match read_row(row, desk) {
            Ok(row) if judged.iter().all(|(sku, ..)| *sku != row.0) => judged.push(row),
            Ok(row) => fault = Some(format!("Duplicate sku {}", row.0)),
            Err(why) => fault = Some(why),
        }
    }
    // One bad row, and none is taken.
    if let Some(why) = fault {
        for row in rows {
            desk.refuse(plain(&row["sku"]), row["items"][0]["count"].as_i64().unwrap_or(-1));
        }
        return error(400, "BAD_REQUEST", &why);
    }
    for (sku, count, stamp) in judged {
        let newer = desk.memory().stamps.get(&sku).is_none_or(|last| stamp >= *last);
        if !newer {
            desk.refuse(&sku, count);
            continue;
        }
        desk.set(&sku, count);
        if !desk.pretends() {
            desk.memory().stamps.insert(sku, stamp);
        }
    }
    Say::ok(json!({ "status": "OK" }))
}

fn read_row(row: &Value, desk: &mut Desk<'_>) -> Result<(Sku, i64, Timestamp), String> {
    let name = plain(&row["sku"]);
    let sku = desk.find("offer_id", &row["sku"]).ok_or_else(|| format!("Unknown sku {name}"))?;
    let items =
        row["items"].as_array().filter(|items| items.len() == 1).ok_or_else(|| format!("items of {name}: exactly one"))?;
    let item = items.first().unwrap_or(&Value::Null);
    let count = item["count"].as_i64().filter(|count| (0..=2_000_000_000).contains(count));
    let count = count.ok_or_else(|| format!("count of {name}: is not a quantity"))?;
    let stamp = match &item["updatedAt"] {
        Value::Null => desk.now,
        text => text.as_str().and_then(Timestamp::parse_rfc3339).ok_or_else(|| format!("updatedAt of {name}: is no time"))?,
    };
    match desk.trouble(&sku) {
        Some(Trouble::Lasting) => Err(format!("Sku {name} is archived")),
        Some(Trouble::Passing) => Err(format!("Sku {name} is being processed")),
        None => Ok((sku, count, stamp)),
    }
}

fn paged(call: &Call, most: i64) -> (usize, usize) {
    let limit = usize::try_from(call.number("limit", most).clamp(1, most)).unwrap_or(1);
    let token = call.query("pageToken").or_else(|| call.query("page_token"));
    (token.and_then(|token| token.strip_prefix("t-")).and_then(|from| from.parse().ok()).unwrap_or(0), limit)
}

fn read(call: &Call, desk: &mut Desk<'_>) -> Say {
    let body = call.json();
    let (from, limit) = paged(call, 200);
    let wanted = body["offerIds"].as_array().filter(|wanted| !wanted.is_empty());
    if wanted.is_some_and(|wanted| wanted.len() > 500) {
        return error(400, "BAD_REQUEST", "offerIds: no more than 500");
    }
    let fits = |item: &Item| wanted.is_none_or(|wanted| wanted.contains(&item.refs["offer_id"]));
    let found: Vec<Item> = desk.shelf(0, usize::MAX).into_iter().filter(fits).collect();
    let offers: Vec<Value> = found
        .iter()
        .skip(from)
        .take(limit)
        .map(|item| {
            let seen = desk.seen(item);
            json!({ "offerId": item.refs["offer_id"], "updatedAt": desk.now, "stocks": [{ "type": "AVAILABLE", "count": seen },
                { "type": "FIT", "count": seen + item.open }, { "type": "FREEZE", "count": item.open }] })
        })
        .collect();
    let paging = if from + limit < found.len() { json!({ "nextPageToken": format!("t-{}", from + limit) }) } else { json!({}) };
    Say::ok(json!({ "status": "OK", "result": { "paging": paging, "warehouses": [{ "warehouseId": 77, "offers": offers }] } }))
}

fn status(order: &Order) -> &'static str {
    if order.cancelled > 0 {
        "CANCELLED"
    } else if order.returned > 0 {
        "RETURNED"
    } else if order.shipped {
        "DELIVERY"
    } else {
        "PROCESSING"
    }
}

fn rendered(desk: &Desk<'_>, order: &Order) -> Value {
    let number: u64 = order.id.parse().unwrap_or(0);
    let substatus = if status(order) == "CANCELLED" { "USER_CHANGED_MIND" } else { "STARTED" };
    let offer = desk.item(&order.sku).map_or(Value::Null, |item| item.refs["offer_id"].clone());
    json!({ "orderId": number, "id": number, "campaignId": desk.account().value("campaign_id"), "status": status(order),
        "substatus": substatus, "creationDate": order.placed_at, "updateDate": order.changed_at, "fake": false,
        "items": [{ "id": number * 10 + 1, "offerId": offer, "count": order.quantity }] })
}

fn orders(call: &Call, desk: &mut Desk<'_>) -> Say {
    let body = call.json();
    let (from, limit) = paged(call, 50);
    let dates = &body["dates"];
    let time = |name: &str| dates[name].as_str().and_then(Timestamp::parse_rfc3339);
    let since = time("updateDateFrom").unwrap_or(Timestamp::from_micros(0));
    let until = time("updateDateTo").unwrap_or(Timestamp::from_micros(i64::MAX));
    let wanted = body["statuses"].as_array().filter(|wanted| !wanted.is_empty());
    let ids = body["orderIds"].as_array().filter(|ids| !ids.is_empty());
    let ours = body["campaignIds"].as_array().is_none_or(|ids| ids.contains(&desk.account().value("campaign_id")));
    let fits = |order: &&Order| {
        let named = ids.is_none_or(|ids| ids.iter().any(|id| plain(id) == order.id));
        ours && named && wanted.is_none_or(|wanted| wanted.contains(&json!(status(order))))
    };
    let found: Vec<&Order> = desk.book().changed(since, until).filter(fits).skip(from).take(limit + 1).collect();
    let paging = if found.len() > limit { json!({ "nextPageToken": format!("t-{}", from + limit) }) } else { json!({}) };
    let orders: Vec<Value> = found.into_iter().take(limit).map(|order| rendered(desk, order)).collect();
    Say::ok(json!({ "status": "OK", "orders": orders, "paging": paging }))
}

//! The named schemes, a row each. A row is all that is known of how a sender signs; `stockhub webhook schemes` prints them.

use super::scheme::{
    Ack, Algorithm, Challenge, Encoding, Format, IdSource, KeyForm, Part, Ping, Require, Scheme, Stamp, Trust, Unit,
};

/// `id.timestamp.body`, as Standard Webhooks and the older shape with an id both sign.
pub const ID_TIMESTAMP_BODY: &[Part] = &[Part::Id, Part::Text("."), Part::Timestamp, Part::Text("."), Part::Body];
const TIMESTAMP_BODY: &[Part] = &[Part::Timestamp, Part::Text("."), Part::Body];
const BODY: &[Part] = &[Part::Body];

/// Standard Webhooks (HMAC).
pub const fn standard(secret: &'static str) -> Scheme {
    Scheme {
        name: "standard",
        header: "webhook-signature",
        with: &["webhook-id", "webhook-timestamp"],
        encoding: Encoding::Base64,
        format: Format::SpaceList { version: "v1" },
        content: ID_TIMESTAMP_BODY,
        key: KeyForm::Base64 { prefix: "whsec_" },
        timestamp: Some(Stamp::Header("webhook-timestamp", Unit::Seconds)),
        id: Some(IdSource::Header("webhook-id")),
        ..plain(secret)
    }
}

/// Standard Webhooks, signed with a private key; the secret is the sender's public key.
pub const fn standard_ed25519(secret: &'static str) -> Scheme {
    Scheme {
        name: "standard-ed25519",
        algorithm: Algorithm::Ed25519,
        format: Format::SpaceList { version: "v1a" },
        key: KeyForm::Public { prefix: "whpk_" },
        ..standard(secret)
    }
}

/// Standard Webhooks under the header names that Svix sends.
pub const fn svix(secret: &'static str) -> Scheme {
    Scheme {
        name: "svix",
        header: "svix-signature",
        with: &["svix-id", "svix-timestamp"],
        timestamp: Some(Stamp::Header("svix-timestamp", Unit::Seconds)),
        id: Some(IdSource::Header("svix-id")),
        ..standard(secret)
    }
}

/// The older shape with an id and a time: both are signed.
pub const fn stamped(secret: &'static str) -> Scheme {
    Scheme {
        name: "stamped",
        with: &["x-webhook-id", "x-webhook-timestamp"],
        content: ID_TIMESTAMP_BODY,
        timestamp: Some(Stamp::Header("x-webhook-timestamp", Unit::Seconds)),
        id: Some(IdSource::Header("x-webhook-id")),
        ..plain(secret)
    }
}

/// The older shape: the body alone is signed.
pub const fn plain(secret: &'static str) -> Scheme {
    Scheme {
        name: "plain",
        header: "x-webhook-signature",
        with: &[],
        algorithm: Algorithm::HmacSha256,
        encoding: Encoding::Hex,
        format: Format::Single { prefix: "sha256=" },
        content: BODY,
        key: KeyForm::Utf8,
        timestamp: None,
        tolerance_s: None,
        id: None,
        secret,
        challenge: None,
        ping: None,
        pong: None,
        ack: Ack::Receipt,
        trust: Trust::Full,
        require: &[],
        path_secret: Scheme::PATH_SECRET,
        keeps: &[],
        ips: &[],
    }
}

const fn body_mac(name: &'static str, header: &'static str, encoding: Encoding, secret: &'static str) -> Scheme {
    Scheme { name, header, encoding, format: Format::Single { prefix: "" }, ..plain(secret) }
}

pub const fn shopify(secret: &'static str) -> Scheme {
    body_mac("shopify", "x-shopify-hmac-sha256", Encoding::Base64, secret)
}

/// Saving a webhook sends an unsigned form first; without an answer of 200 it cannot be saved at all.
pub const fn woocommerce(secret: &'static str) -> Scheme {
    Scheme {
        key: KeyForm::HtmlDecoded,
        ping: Some(Ping::Form { field: "webhook_id" }),
        ..body_mac("woocommerce", "x-wc-webhook-signature", Encoding::Base64, secret)
    }
}

pub const fn stripe(secret: &'static str) -> Scheme {
    Scheme {
        format: Format::KeyValues { version: "v1" },
        content: TIMESTAMP_BODY,
        timestamp: Some(Stamp::Tag("t", Unit::Seconds)),
        id: Some(IdSource::Json("/id")),
        ..body_mac("stripe", "stripe-signature", Encoding::Hex, secret)
    }
}

pub const fn github(secret: &'static str) -> Scheme {
    Scheme { format: Format::Single { prefix: "sha256=" }, ..body_mac("github", "x-hub-signature-256", Encoding::Hex, secret) }
}

/// The address is signed too: the account's `webhook_url` must be what the sender was given, to the letter.
pub const fn square(secret: &'static str) -> Scheme {
    Scheme {
        content: &[Part::Url, Part::Body],
        id: Some(IdSource::Json("/event_id")),
        ..body_mac("square", "x-square-hmacsha256-signature", Encoding::Base64, secret)
    }
}

pub const fn sendcloud(secret: &'static str) -> Scheme {
    body_mac("sendcloud", "sendcloud-signature", Encoding::Hex, secret)
}

/// The newer version signs headers too.
pub const fn hook0(secret: &'static str) -> Scheme {
    Scheme {
        name: "hook0",
        header: "x-hook0-signature",
        content: &[Part::Timestamp, Part::Text("."), Part::SignedHeaders, Part::Body],
        id: None,
        ..stripe(secret)
    }
}

/// The older version of the same header; it does not save a newer one that is wrong.
pub const fn hook0_v0(secret: &'static str) -> Scheme {
    Scheme { name: "hook0-v0", format: Format::KeyValues { version: "v0" }, content: TIMESTAMP_BODY, ..hook0(secret) }
}

pub const fn convoy(secret: &'static str) -> Scheme {
    Scheme {
        name: "convoy",
        header: "x-convoy-signature",
        content: &[Part::Timestamp, Part::Text(","), Part::Body],
        id: None,
        ..stripe(secret)
    }
}

pub const fn convoy_simple(secret: &'static str) -> Scheme {
    body_mac("convoy-simple", "x-convoy-signature", Encoding::Hex, secret)
}

pub const fn convoy_sha512(secret: &'static str) -> Scheme {
    Scheme { name: "convoy-sha512", algorithm: Algorithm::HmacSha512, ..convoy_simple(secret) }
}

/// A sender that signs with SHA-1 alone.
pub const fn github_sha1(secret: &'static str) -> Scheme {
    Scheme {
        name: "github-sha1",
        header: "x-hub-signature",
        algorithm: Algorithm::HmacSha1,
        format: Format::Single { prefix: "sha1=" },
        ..github(secret)
    }
}

/// A fixed header that the merchant chose; no more than a password.
pub const fn token(secret: &'static str) -> Scheme {
    Scheme {
        name: "token",
        header: "x-webhook-token",
        algorithm: Algorithm::StaticToken,
        encoding: Encoding::Text,
        format: Format::Single { prefix: "" },
        content: &[],
        ..plain(secret)
    }
}

/// The request's own signing function: method, address, body and time, a line each.
pub const fn kaufland(secret: &'static str) -> Scheme {
    const LINE: Part = Part::Text("\n");
    Scheme {
        name: "kaufland",
        header: "shop-signature",
        with: &["shop-timestamp"],
        format: Format::Single { prefix: "" },
        content: &[Part::Method, LINE, Part::Url, LINE, Part::Body, LINE, Part::Timestamp],
        timestamp: Some(Stamp::Header("shop-timestamp", Unit::Seconds)),
        id: Some(IdSource::Json("/id_message")),
        ack: Ack::NoContent,
        trust: Trust::Hint,
        ..plain(secret)
    }
}

pub const fn ebay(secret: &'static str) -> Scheme {
    Scheme {
        name: "ebay",
        header: "x-ebay-signature",
        algorithm: Algorithm::EcdsaP256Sha1,
        encoding: Encoding::Base64,
        format: Format::Json { signature: "signature", key_id: "kid" },
        key: KeyForm::Remote { path: "/commerce/notification/v1/public_key/{kid}", pointer: "/key" },
        id: Some(IdSource::Json("/notification/notificationId")),
        challenge: Some(Challenge::Hashed { query: "challenge_code", token: "verification_token", field: "challengeResponse" }),
        ack: Ack::NoContent,
        trust: Trust::Hint,
        ..plain(secret)
    }
}

/// A manifest is signed, not the body: what the body says is a hint.
pub const fn mercado_pago(secret: &'static str) -> Scheme {
    Scheme {
        name: "mercado-pago",
        header: "x-signature",
        with: &["x-request-id"],
        format: Format::KeyValues { version: "v1" },
        content: &[
            Part::Text("id:"),
            Part::QueryLower("data.id"),
            Part::Text(";request-id:"),
            Part::Header("x-request-id"),
            Part::Text(";ts:"),
            Part::Timestamp,
            Part::Text(";"),
        ],
        timestamp: Some(Stamp::Tag("ts", Unit::ByMagnitude)),
        id: None,
        trust: Trust::Hint,
        ..plain(secret)
    }
}

const fn unsigned(name: &'static str, ips: &'static [&'static str]) -> Scheme {
    Scheme {
        name,
        header: "",
        algorithm: Algorithm::Unsigned,
        encoding: Encoding::Text,
        format: Format::Single { prefix: "" },
        content: &[],
        trust: Trust::Hint,
        ips,
        ..plain(Scheme::PATH_SECRET)
    }
}

pub const fn ozon() -> Scheme {
    Scheme {
        ping: Some(Ping::Json { pointer: "/message_type", value: "TYPE_PING" }),
        ack: Ack::Fixed("{\"result\":true}"),
        require: &[Require { pointer: "/seller_id", account: "seller_id" }],
        ..unsigned("ozon", &["195.34.21.0/24", "185.73.192.0/22", "91.223.93.0/24"])
    }
}

pub const fn yandex() -> Scheme {
    Scheme {
        ping: Some(Ping::Json { pointer: "/notificationType", value: "PING" }),
        ack: Ack::NameVersionTime,
        require: &[Require { pointer: "/campaignId", account: "campaign_id" }],
        ..unsigned("yandex", &["5.45.207.0/25", "141.8.142.0/25", "5.255.253.0/25"])
    }
}

pub const fn mercado_libre() -> Scheme {
    Scheme {
        require: &[Require { pointer: "/user_id", account: "user_id" }],
        ..unsigned("mercado-libre", &["54.88.218.97", "18.215.140.160", "18.213.114.129", "18.206.34.84"])
    }
}

/// The secret of every named scheme, in the settings of a connection that names one.
const SECRET: &str = "webhook_secret";

/// What `account.scheme` may name. A name may stand for several, the strongest first.
static NAMED: [(&str, &[Scheme]); 23] = [
    ("standard", &[standard(SECRET)]),
    ("standard-ed25519", &[standard_ed25519(SECRET)]),
    ("svix", &[svix(SECRET), standard(SECRET)]),
    ("stamped", &[stamped(SECRET)]),
    ("plain", &[plain(SECRET)]),
    ("shopify", &[shopify(SECRET)]),
    ("woocommerce", &[woocommerce(SECRET)]),
    ("stripe", &[stripe(SECRET)]),
    ("github", &[github(SECRET)]),
    ("github-sha1", &[github_sha1(SECRET)]),
    ("square", &[square(SECRET)]),
    ("sendcloud", &[sendcloud(SECRET)]),
    ("hook0", &[hook0(SECRET), hook0_v0(SECRET)]),
    ("convoy", &[convoy(SECRET)]),
    ("convoy-simple", &[convoy_simple(SECRET)]),
    ("convoy-sha512", &[convoy_sha512(SECRET)]),
    ("token", &[token(SECRET)]),
    ("kaufland", &[kaufland(SECRET)]),
    ("ebay", &[ebay(SECRET)]),
    ("mercado-pago", &[mercado_pago(SECRET)]),
    ("mercado-libre", &[mercado_libre()]),
    ("ozon", &[ozon()]),
    ("yandex", &[yandex()]),
];

pub fn named(name: &str) -> Option<&'static [Scheme]> {
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, schemes)| *schemes)
}

pub fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

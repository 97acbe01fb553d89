//! How the domain's small types are stored: transparently, as what they hold.

use std::borrow::Cow;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Postgres, Sqlite, Type};
use uuid::Uuid;

use crate::domain::ids::{
    LineId, ListingId, LocationId, MarketplaceId, MovementId, OrderId, ProductId, ReservationId, WebhookId,
};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

macro_rules! stored_as {
    ($inner:ty: $($type:ty, $get:expr, $make:expr);* $(;)?) => { $(
        stored_as!(@ Sqlite, $inner, $type, $get, $make);
        stored_as!(@ Postgres, $inner, $type, $get, $make);
    )* };
    (@ $db:ty, $inner:ty, $type:ty, $get:expr, $make:expr) => {
        impl Type<$db> for $type {
            fn type_info() -> <$db as Database>::TypeInfo {
                <$inner as Type<$db>>::type_info()
            }
            fn compatible(ty: &<$db as Database>::TypeInfo) -> bool {
                <$inner as Type<$db>>::compatible(ty)
            }
        }
        impl<'q> Encode<'q, $db> for $type {
            fn encode_by_ref(&self, buffer: &mut <$db as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let inner: $inner = ($get)(self);
                <$inner as Encode<'q, $db>>::encode_by_ref(&inner, buffer)
            }
        }
        impl<'r> Decode<'r, $db> for $type {
            fn decode(value: <$db as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                <$inner as Decode<'r, $db>>::decode(value).map($make)
            }
        }
    };
}

stored_as!(Uuid:
    ProductId, |id: &ProductId| id.uuid(), ProductId::new;
    LocationId, |id: &LocationId| id.uuid(), LocationId::new;
    MarketplaceId, |id: &MarketplaceId| id.uuid(), MarketplaceId::new;
    ListingId, |id: &ListingId| id.uuid(), ListingId::new;
    OrderId, |id: &OrderId| id.uuid(), OrderId::new;
    LineId, |id: &LineId| id.uuid(), LineId::new;
    WebhookId, |id: &WebhookId| id.uuid(), WebhookId::new;
    MovementId, |id: &MovementId| id.uuid(), MovementId::new;
    ReservationId, |id: &ReservationId| id.uuid(), ReservationId::new;
);
stored_as!(i64: Timestamp, |at: &Timestamp| at.micros(), Timestamp::from_micros);
stored_as!(String: Sku, |sku: &Sku| sku.as_str().to_owned(), |text: String| Sku::from_storage(&Cow::from(text)));

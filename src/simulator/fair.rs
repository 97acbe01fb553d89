//! Several shops at once on neighbouring ports, with the same goods: what `stockhub simulate` opens and what long tests run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;

use super::audit::{Report, audit};
use super::chaos::{Chaos, Fault};
use super::courier::CourierSettings;
use super::http_client::Target;
use super::hub_view::{HubError, HubView};
use super::kinds::Kind;
use super::kinds::connection::{HubSide, hub_side};
use super::marketplace::{Marketplace, MarketplaceSettings};
use super::server::ShopServer;
use super::shop::Opening;
use super::{SimulatorError, World};

pub const SHOPS_MAX: usize = 32;
pub const PRODUCTS_MAX: usize = 10_000;
/// Between two looks at whether everything has come to rest.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub struct FairSettings {
    /// Code and kind of each.
    pub shops: Vec<(String, Kind)>,
    pub products: usize,
    /// Pieces of each product, shown by every shop.
    pub stock: i64,
    pub seed: u64,
    /// The first shop's port, the others follow; 0 picks free ones.
    pub port_base: u16,
    /// How many times faster than the real ones' the clocks of their limits run.
    pub hurry: u32,
    /// What a generic shop signs with.
    pub webhook_secret: String,
    /// Names the orders: two runs against one hub need two of these.
    pub run: String,
}

pub struct Fair {
    pub shops: Vec<ShopServer>,
    webhook_secret: String,
}

impl Fair {
    pub fn open(world: &World, settings: &FairSettings) -> Result<Self, SimulatorError> {
        if settings.shops.is_empty() || settings.shops.len() > SHOPS_MAX {
            return Err(SimulatorError::Settings("a fair has 1 to 32 shops"));
        }
        if !(1..=PRODUCTS_MAX).contains(&settings.products) {
            return Err(SimulatorError::Settings("a fair has 1 to 10000 products"));
        }
        let stock = Quantity::parse(settings.stock).map_err(|_| SimulatorError::Settings("the stock must be 0 or more"))?;
        let sku = |n: usize| Sku::parse(&format!("SIM-{n:05}")).map_err(|_| SimulatorError::Settings("a product has no name"));
        let skus = (1..=settings.products).map(sku).collect::<Result<Vec<_>, _>>()?;
        let mut shops = Vec::new();
        for (n, (code, kind)) in (0_u16..).zip(&settings.shops) {
            let opening = skus.iter().map(|sku| Opening { price: Some("19.90".into()), ..Opening::new(sku.clone(), stock) });
            let mut shop = MarketplaceSettings::of_kind(*kind, code, opening.collect());
            shop.seed = settings.seed.wrapping_add(u64::from(n));
            shop.hurry = settings.hurry;
            shop.identity.run = format!("{}-{code}", settings.run);
            let port = if settings.port_base == 0 { 0 } else { settings.port_base.saturating_add(n) };
            shops.push(ShopServer::start(world.clone(), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), shop)?);
        }
        Ok(Self { shops, webhook_secret: settings.webhook_secret.clone() })
    }

    pub fn markets(&self) -> Vec<Arc<Marketplace>> {
        self.shops.iter().map(|shop| Arc::clone(shop.market())).collect()
    }

    /// What a hub must be told to work with each of them.
    pub fn hub_sides(&self) -> Vec<HubSide> {
        let side = |shop: &ShopServer| {
            let market = shop.market();
            hub_side(market.kind(), &market.code(), &shop.base_url(), &market.account(), &self.webhook_secret)
        };
        self.shops.iter().map(side).collect()
    }

    /// Those that send webhooks send them there from now on.
    pub fn connect(&self, hub: &Target) {
        for shop in &self.shops {
            if shop.market().kind().sends_webhooks() {
                let mut courier = CourierSettings::new(hub.clone(), &self.webhook_secret);
                courier.lanes = 2;
                shop.market().connect_webhooks(&courier);
            }
        }
    }

    /// The same knobs everywhere, less what a hub could never learn of: a shop that is not asked for orders loses no webhook, and
    /// one that cannot be read back does what it says. Walls stand where the real ones do.
    pub fn set_chaos(&self, chaos: &Chaos) -> Result<(), SimulatorError> {
        self.shops.iter().try_for_each(|shop| {
            let (market, mut chaos) = (shop.market(), chaos.clone());
            if market.kind() == Kind::Generic {
                chaos.lost_percent = 0;
                chaos.faults.retain(|fault| *fault != Fault::DidNothing);
            }
            if market.kind() == Kind::BackMarket && !chaos.faults.is_empty() {
                chaos.faults.push(Fault::Wall);
            }
            market.set_chaos(chaos)
        })
    }

    /// Held against what the hub says.
    pub async fn audit(&self, hub: &mut HubView) -> Result<Report, HubError> {
        let markets = self.markets();
        let figures = hub.figures(&markets).await?;
        let states: Vec<_> = markets.iter().map(|market| market.state()).collect();
        Ok(audit(&states, &figures))
    }

    /// Looks again and again until every number agrees; gives the last report, and how long that took, after `at_most` in any case.
    pub async fn settle(&self, hub: &mut HubView, at_most: Duration) -> Result<(Report, Duration), HubError> {
        let begun = Instant::now();
        loop {
            let report = self.audit(hub).await?;
            if report.clean || begun.elapsed() >= at_most {
                return Ok((report, begun.elapsed()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

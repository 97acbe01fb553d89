//! A marketplace of the tests' own: listings in pages, orders in a window, statuses, single orders. It does what a test tells it to,
//! also what no real one would admit, and writes down every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub sku: String,
    /// `None`: listed without a number.
    pub quantity: Option<i64>,
    /// Left out of every list.
    pub hidden: bool,
    /// By which way it is sold there, where that is told.
    pub way: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub id: String,
    /// Microseconds.
    pub at: i64,
    pub status: &'static str,
    pub lines: Vec<(String, i64)>,
}

type Hook = Box<dyn FnMut(&str, &mut State) + Send>;

#[derive(Default)]
pub struct State {
    pub listings: BTreeMap<String, Listing>,
    pub orders: Vec<Order>,
    /// Rows of a page.
    pub page: usize,
    /// Every request, like `GET /listings?offset=0`.
    pub calls: Vec<String>,
    /// What every question is answered with, instead.
    pub broken: Option<(u16, String)>,
    /// Pushes are answered well and thrown away.
    pub forgets: bool,
    /// So many questions are not answered: the line is cut.
    pub cuts: usize,
    /// Called before a request is answered.
    pub hook: Option<Hook>,
}

#[derive(Clone)]
pub struct Shelf {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Shelf {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { page: 50, ..State::default() }));
        let shelf = Self { address, state };
        let serving = shelf.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shelf = serving.clone();
                tokio::spawn(async move { shelf.serve(stream).await });
            }
        });
        shelf
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn put(&self, id: &str, sku: &str, quantity: i64) {
        let listing = Listing { sku: sku.into(), quantity: Some(quantity), hidden: false, way: None };
        self.state().listings.insert(id.into(), listing);
    }

    pub fn shows(&self, id: &str) -> i64 {
        self.state().listings[id].quantity.unwrap_or(-1)
    }

    pub fn set(&self, id: &str, quantity: i64) {
        self.state().listings.get_mut(id).unwrap().quantity = Some(quantity);
    }

    /// A customer buys: its own number falls, and there is an order.
    pub fn sells(&self, order: &str, id: &str, quantity: i64, at: i64) {
        self.state().sells(order, id, quantity, at);
    }

    pub fn cancels(&self, order: &str, at: i64) {
        let mut state = self.state();
        let found = state.orders.iter_mut().find(|one| one.id == order).unwrap();
        (found.status, found.at) = ("cancelled", at);
    }

    /// Requests whose path begins so.
    pub fn count(&self, start: &str) -> usize {
        self.state().calls.iter().filter(|call| call.starts_with(start)).count()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let mut buffer = [0_u8; 8192];
        let (head, length) = loop {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
                });
                break (head, end + 4 + length.unwrap_or(0));
            }
        };
        while bytes.len() < length {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let start = head.split("\r\n\r\n").next().unwrap();
        let mut words = start.split_whitespace();
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let body = bytes[bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..length].to_vec();
        let cut = {
            let mut state = self.state();
            let cut = method == "GET" && state.cuts > 0;
            state.cuts -= usize::from(cut);
            cut
        };
        if cut {
            return;
        }
        let (status, answer) = self.state().answer(&method, &path, &body);
        let text = answer.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

impl State {
    pub fn sells(&mut self, order: &str, id: &str, quantity: i64, at: i64) {
        let listing = self.listings.get_mut(id).unwrap();
        listing.quantity = listing.quantity.map(|shown| shown - quantity);
        let lines = vec![(listing.sku.clone(), quantity)];
        self.orders.push(Order { id: order.into(), at, status: "new", lines });
    }

    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        self.calls.push(format!("{method} {path}"));
        if let Some(mut hook) = self.hook.take() {
            hook(path, self);
            self.hook.get_or_insert(hook);
        }
        let url = url::Url::parse(&format!("http://x{path}")).unwrap();
        let param = |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let number = |name: &str| param(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        if let (Some((status, text)), "GET") = (&self.broken, method) {
            return (*status, Value::from(text.as_str()));
        }
        let row = |(id, listing): (&String, &Listing)| json!({"id": id, "sku": listing.sku, "quantity": listing.quantity, "way": listing.way});
        match url.path() {
            "/stock" => {
                let told: Value = serde_json::from_slice(body).unwrap();
                let (sku, stock) = (told["sku"].as_str().unwrap(), told["stock"].as_i64().unwrap());
                let forgets = self.forgets;
                for listing in self.listings.values_mut().filter(|listing| listing.sku == sku && !forgets) {
                    listing.quantity = Some(stock);
                }
                (200, json!({}))
            }
            "/listings" => {
                let offset = usize::try_from(number("offset")).unwrap();
                let all: Vec<Value> = self.listings.iter().filter(|(_, listing)| !listing.hidden).map(row).collect();
                let rows: Vec<Value> = all.iter().skip(offset).take(self.page).cloned().collect();
                let next = (offset + rows.len() < all.len()).then(|| offset + rows.len());
                (200, json!({"rows": rows, "next": next}))
            }
            "/listing" => {
                let ids = param("ids").unwrap_or_default();
                let wanted: Vec<&str> = ids.split(',').collect();
                let found = self.listings.iter().filter(|(id, one)| wanted.contains(&id.as_str()) && !one.hidden);
                (200, json!({"rows": found.map(row).collect::<Vec<_>>(), "next": null}))
            }
            "/orders" => {
                let (from, to) = (number("from"), number("to"));
                let offset = usize::try_from(number("offset")).unwrap();
                let all: Vec<Value> =
                    self.orders.iter().filter(|order| (from..=to).contains(&order.at)).map(order_json).collect();
                let rows: Vec<Value> = all.iter().skip(offset).take(self.page).cloned().collect();
                let next = (offset + rows.len() < all.len()).then(|| offset + rows.len());
                (200, json!({"orders": rows, "next": next}))
            }
            "/statuses" | "/order" => {
                let ids = param("ids").unwrap_or_default();
                let wanted: Vec<&str> = ids.split(',').collect();
                let found = self.orders.iter().filter(|order| wanted.contains(&order.id.as_str()));
                (200, json!({"orders": found.map(order_json).collect::<Vec<_>>(), "next": null}))
            }
            "/check" => (200, json!({"ok": true})),
            _ => (404, json!({"error": "nothing here"})),
        }
    }
}

pub fn order_json(order: &Order) -> Value {
    let lines: Vec<Value> = order.lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    json!({"id": order.id, "at": order.at, "status": order.status, "lines": lines})
}

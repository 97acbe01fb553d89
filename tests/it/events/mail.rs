//! Alerts by mail, to a mail server of a few lines.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{change, hub, until};

/// Takes mail without looking; `refuse` makes it say "later" to so many first.
struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    async fn start(refuse: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let (keep, left) = (mails.clone(), Arc::new(Mutex::new(refuse)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (keep, left) = (keep.clone(), left.clone());
                tokio::spawn(async move { talk(socket, &keep, &left).await });
            }
        });
        Self { port, mails }
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

async fn talk(socket: TcpStream, keep: &Mutex<Vec<String>>, left: &Mutex<usize>) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let mut mail = String::new();
    let mut in_data = false;
    socket.write_all(b"220 mail.test\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if in_data {
            if line != ".\r\n" {
                mail.push_str(&line);
                continue;
            }
            in_data = false;
            keep.lock().unwrap().push(std::mem::take(&mut mail));
            socket.write_all(b"250 taken\r\n").await.ok()?;
            continue;
        }
        let later = line.starts_with("MAIL") && {
            let mut left = left.lock().unwrap();
            let later = *left > 0;
            *left = left.saturating_sub(1);
            later
        };
        let answer: &[u8] = match line.split_whitespace().next().unwrap_or("") {
            _ if later => b"451 later\r\n",
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        socket.write_all(answer).await.ok()?;
    }
}

fn section(port: u16) -> String {
    format!("[mail]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"Stock hub <hub@shop.example>\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mail_per_alert_even_if_the_server_is_not_there_at_first() {
    let server = MailServer::start(2).await;
    let hub = hub(vec![("PEN", 5), ("INK", 5)], &section(server.port)).await;
    let body =
        json!({"kind": "email", "to": ["ops@shop.example", "boss@shop.example"], "alert_kinds": ["low-stock", "oversold"]});
    let answer = hub.admin("POST", "/v1/admin/sinks", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    change(&hub, "PEN", -2).await;
    change(&hub, "PEN", -1).await;
    change(&hub, "INK", -5).await;
    until("the mail comes", async || !server.mails().is_empty()).await;
    let body = json!({"marketplace": "olx", "force": true, "items": [{"sku": "PEN", "quantity": 7}]});
    assert_eq!(hub.admin("POST", "/v1/admin/orders", Some(body)).await.status, 201);
    until("the second comes", async || server.mails().len() >= 2).await;
    let mails = server.mails();
    assert_eq!(mails.len(), 2, "out of stock was not asked for, and low stock is one edge: {mails:#?}");
    assert!(
        mails[0].contains("PEN is low: 3 left") && mails[0].contains("To: ops@shop.example, boss@shop.example"),
        "{}",
        mails[0]
    );
    assert!(mails[1].contains("Subject: [stockhub] critical: PEN is oversold"), "{}", mails[1]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_sink_is_tried_and_checked() {
    let server = MailServer::start(0).await;
    let hub = hub(vec![], &section(server.port)).await;
    let bad = json!({"kind": "email", "to": ["nobody"], "alert_kinds": ["nonsense"]});
    let errors = hub.admin("POST", "/v1/admin/sinks", Some(bad)).await.json()["errors"].clone();
    assert_eq!((&errors[0]["field"], &errors[1]["field"]), (&json!("/to/0"), &json!("/alert_kinds/0")));
    let answer = hub.admin("POST", "/v1/admin/sinks", Some(json!({"kind": "email", "to": ["ops@shop.example"]}))).await.json();
    let test = format!("/v1/admin/sinks/{}/test", answer["id"].as_str().unwrap());
    assert_eq!(hub.admin("POST", &test, None).await.json()["delivered"], json!(true));
    assert!(server.mails()[0].contains("Subject: [stockhub] test"));
    hub.stop().await;
}

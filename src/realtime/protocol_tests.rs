use super::*;

fn text(message: &Message<'_>) -> String {
    String::from_utf8_lossy(&message.json()).into_owned()
}

#[test]
fn reads_what_clients_say() {
    let subscribe = ClientFrame::parse(r#"{"type":"subscribe","id":1,"skus":["A"],"since":null,"later":"field"}"#);
    assert_eq!(subscribe, Ok(ClientFrame::Subscribe { id: Some(1), skus: vec!["A".to_owned()], all: false, since: None }));
    let all = ClientFrame::parse(r#"{"type":"unsubscribe","all":true}"#);
    assert_eq!(all, Ok(ClientFrame::Unsubscribe { skus: vec![], all: true }));
    assert_eq!(
        ClientFrame::parse(r#"{"type":"pong","ts":5,"cursor":"e:1"}"#),
        Ok(ClientFrame::Pong { cursor: Some("e:1".to_owned()) })
    );
}

#[test]
fn names_what_is_wrong() {
    let code = |text: &str| ClientFrame::parse(text).map_err(|error| error.code());
    assert_eq!(code("{"), Err("bad-json"));
    assert_eq!(code(r#"{"type":"subscribe","skus":5}"#), Err("bad-message"));
    assert_eq!(code(r#"{"type":"subscribe","id":1}"#), Err("bad-message"));
    assert_eq!(code(r#"{"type":"dance","id":7}"#), Err("unknown-type"));
    assert_eq!(code("[]"), Err("bad-message"));
}

#[test]
fn writes_the_frames_of_the_specification() {
    let item = Bytes::from_static(br#"{"sku":"A","stock":1,"version":2,"in_stock":true}"#);
    let items = [item.clone(), item];
    let cases = [
        (
            text(&Message::Snapshot { cursor: Some("e:1"), items: &items[..1] }),
            r#"{"type":"snapshot","cursor":"e:1","items":[{"sku":"A","stock":1,"version":2,"in_stock":true}],"more":false}"#,
        ),
        (text(&Message::Snapshot { cursor: None, items: &[] }), r#"{"type":"snapshot","items":[],"more":true}"#),
        (
            text(&Message::Subscribed { id: Some(1), resumed: true, cursor: Some("e:1"), count: 2, unknown: &["X\""] }),
            r#"{"type":"subscribed","id":1,"mode":"resumed","cursor":"e:1","count":2,"unknown":["X\""]}"#,
        ),
        (
            text(&Message::Gap { from: "a:1", to: "b:2", why: GapWhy::Epoch }),
            r#"{"type":"gap","from":"a:1","to":"b:2","why":"epoch"}"#,
        ),
        (
            text(&Message::Bye { code: CloseCode::ShuttingDown, reconnect_after_ms: Some([0, 8_000]) }),
            r#"{"type":"bye","code":4200,"reconnect_after_ms":[0,8000]}"#,
        ),
        (
            text(&Message::Error { id: None, code: "too-many-skus", message: "m" }),
            r#"{"type":"error","code":"too-many-skus","message":"m"}"#,
        ),
    ];
    for (written, wanted) in cases {
        assert_eq!(written, wanted);
    }
}

#[test]
fn the_reconnect_window_grows_with_the_crowd() {
    assert_eq!(CloseCode::ShuttingDown.reconnect_after_ms(10), Some([0, 1_000]));
    assert_eq!(CloseCode::ShuttingDown.reconnect_after_ms(8_000), Some([0, 8_000]));
    assert_eq!(CloseCode::BadRequest.reconnect_after_ms(8_000), None);
}

//! The OpenAPI document against the running sockets and the types of the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use peerdist_node::api::{Status, StatusInfo};
use peerdist_node::config::Fallback;
use peerdist_node::control::wire::{
    self, Available, Cleared, ContentState, Described, ErrorCode, Event, Flushed, HandleId, Identifier,
    InformationOpened, Length, NotThere, OpenInformation, Opened, PublicStatus, PublicationLine, Publications, Publish,
    Refusal, Reloaded, SegmentLine, SegmentPage, StreamOpened, Token,
};
use peerdist_node::fetch::peers::OutCause;
use peerdist_node::fetch::why::MissingReason;
use peerdist_node::hosted_client::{HostedClientStatus, OffersStatus, ServerState, ServerStatus};
use peerdist_node::store::Trust;
use serde::Serialize;
use serde_json::{Value, json};

use crate::daemon::Home;
use crate::fixture::content;
use crate::schema::Document;

/// An answer of HTTP/1.1.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Sends a request and reads its answer. That to `POST /v1/sessions` never ends: of it, the head is read alone.
fn ask(socket: &PathBuf, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
    let mut answer = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = Vec::new();
    if !headers.contains_key("transfer-encoding") {
        answer.read_to_end(&mut body).unwrap();
    }
    Answer { status, headers, body }
}

pub(crate) fn document(home: &Home) -> Document {
    let answer = ask(&home.api_socket(), "GET", "/v1/openapi.json", &[], b"");
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(ask(&home.admin_socket(), "GET", "/v1/openapi.json", &[], b"").body, answer.body);
    Document(serde_json::from_slice(&answer.body).unwrap())
}

/// A path that could be one of a template's.
fn filled(template: &str) -> String {
    template.replace("{id}", "1").replace("{tag}", &"0".repeat(32)).replace("{identifier}", "00")
}

#[test]
fn each_socket_has_what_it_should_have_and_nothing_else() {
    let home = Home::new("");
    let _daemon = home.start();
    let document = document(&home);
    let sockets = [("admin", home.admin_socket()), ("api", home.api_socket())];
    for (path, item) in document.0["paths"].as_object().unwrap() {
        for (tag, socket) in &sockets {
            let is_here = |operation: &Value| operation["tags"].as_array().unwrap().contains(&json!(tag));
            let has_path = item.as_object().unwrap().iter().any(|(key, value)| key != "parameters" && is_here(value));
            for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
                let has_method = item.get(method.to_ascii_lowercase()).is_some_and(is_here);
                // The daemon stays as it is: no word of these requests makes sense.
                let answer = ask(socket, method, &filled(path), &[], b"");
                let said = String::from_utf8_lossy(&answer.body);
                let is_no_path = answer.status == 404 && said.contains("\"not_found\"");
                let at = format!("{method} {path} on {tag}: {} {said}", answer.status);
                match (has_path, has_method) {
                    (false, _) => assert!(is_no_path, "{at}"),
                    (true, false) => assert_eq!(answer.status, 405, "{at}"),
                    (true, true) => assert!(!is_no_path && answer.status != 405, "{at}"),
                }
            }
        }
    }
}

/// A client by hand that holds every answer to the document.
struct Checked {
    home: Home,
    document: Document,
    token: String,
    /// Which successes were seen.
    seen: BTreeSet<(String, String, String)>,
}

impl Checked {
    fn admin(&mut self, method: &str, template: &str, query: &str) -> Value {
        let socket = self.home.admin_socket();
        let answer = self.ask(&socket, method, template, &format!("{template}{query}"), b"");
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// `id` is for whatever stands in braces.
    fn api(&mut self, method: &str, template: &str, id: impl ToString, query: &str, body: &[u8]) -> Answer {
        let socket = self.home.api_socket();
        let path = match template.split_once('{') {
            Some((before, rest)) => format!("{before}{}{}", id.to_string(), rest.split_once('}').unwrap().1),
            None => template.to_owned(),
        };
        self.ask(&socket, method, template, &format!("{path}{query}"), body)
    }

    fn json(&mut self, method: &str, template: &str, id: impl ToString, query: &str, body: &[u8]) -> Value {
        let answer = self.api(method, template, id, query, body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn refused(&mut self, method: &str, template: &str, id: impl ToString, query: &str, body: &[u8]) -> String {
        self.json(method, template, id, query, body)["error"].as_str().unwrap().to_owned()
    }

    fn ask(&mut self, socket: &PathBuf, method: &str, template: &str, target: &str, body: &[u8]) -> Answer {
        let type_of_body = if body.starts_with(b"{") { "application/json" } else { "application/octet-stream" };
        let headers = [("Peerdist-Session", self.token.as_str()), ("Content-Type", type_of_body)];
        let answer = ask(socket, method, target, &headers, body);
        let method = method.to_ascii_lowercase();
        let at = format!("{method} {target}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        let operation = &self.document.0["paths"][template][&method];
        let status = answer.status.to_string();
        let known = operation["responses"].get(&status);
        let said = self.document.resolve(known.unwrap_or(&operation["responses"]["default"]));
        if (200..300).contains(&answer.status) {
            assert!(known.is_some(), "{at}");
            self.seen.insert((template.to_owned(), method, status));
        }
        for (name, header) in said["headers"].as_object().into_iter().flatten() {
            let is_there = answer.headers.contains_key(&name.to_ascii_lowercase());
            assert!(is_there || header["required"] != true, "{at}: {name}");
        }
        let Some(media) = said["content"].as_object() else {
            assert!(answer.body.is_empty(), "{at}");
            return answer;
        };
        let (media_type, media) = media.iter().next().unwrap();
        assert!(answer.headers["content-type"].starts_with(media_type), "{at}: {:?}", answer.headers);
        if media_type == "application/json" {
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(self.document.mistakes_of(&media["schema"], &body), Vec::<String>::new(), "{at}");
            if let Some(error) = body.get("error") {
                assert!(operation["x-errors"].as_array().unwrap().contains(error), "{at}");
                let kinds = self.document.0["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().unwrap();
                let kind = kinds.iter().find(|kind| kind["const"] == *error).unwrap();
                assert_eq!((&kind["x-status"], &kind["x-code"]), (&json!(answer.status), &body["code"]), "{at}");
            }
        }
        answer
    }
}

#[test]
fn every_answer_is_as_described() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = Home::new(&format!(
        "node.mode = \"client\"\ndiscovery.interfaces = [\"lo\"]\ndiscovery.port = {port}\nfetch.probe_timeout = \"1ms\"\n"
    ));
    let _daemon = home.start();
    let document = document(&home);
    let mut client = Checked { home, document, token: String::new(), seen: BTreeSet::new() };

    let anchor = UnixStream::connect(client.home.api_socket()).unwrap();
    (&anchor).write_all(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    let lines: Vec<_> =
        BufReader::new(&anchor).lines().map(Result::unwrap).filter(|line| line.starts_with('{')).take(2).collect();
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(client.document.mistakes("Event", &event), Vec::<String>::new(), "{line}");
        client.token = event["token"].as_str().unwrap_or(&client.token).to_owned();
    }
    client.seen.insert(("/v1/sessions".to_owned(), "post".to_owned(), "200".to_owned()));

    let bytes = content(200_000);
    let stream = client.json("POST", "/v1/streams", "", "", br#"{"identifier":"6869"}"#)["id"].clone();
    assert_eq!(client.refused("POST", "/v1/streams", "", "", br#"{"identifier":"6869"}"#), "already_exists");
    assert_eq!(client.refused("POST", "/v1/streams", "", "", br#"{"identifier":""}"#), "bad_request");
    assert_eq!(client.refused("POST", "/v1/streams", "", "", b"x"), "bad_request");
    assert_eq!(client.refused("PUT", "/v1/streams/{id}/data", &stream, "?position=1", b"x"), "bad_request");
    client.json("PUT", "/v1/streams/{id}/data", &stream, "?position=0", &bytes);
    client.json("POST", "/v1/streams/{id}/complete", &stream, "", b"");
    assert_eq!(client.refused("POST", "/v1/streams/{id}/complete", &stream, "", b""), "already_completed");
    client.api("DELETE", "/v1/streams/{id}", &stream, "", b"");
    assert_eq!(client.refused("DELETE", "/v1/streams/{id}", &stream, "", b""), "no_content");
    client.json("GET", "/v1/publications", "", "", b"");

    assert_eq!(client.refused("POST", "/v1/content-information", "", "", br#"{"identifier":"00"}"#), "not_published");
    let far = br#"{"identifier":"6869","offset":200000,"length":1}"#;
    assert_eq!(client.refused("POST", "/v1/content-information", "", "", far), "out_of_bounds");
    let opened = client.json("POST", "/v1/content-information", "", "", br#"{"identifier":"6869"}"#);
    let information = client.api("GET", "/v1/content-information/{id}", &opened["id"], "", b"").body;
    assert_eq!(information.len() as u64, opened["size"]);
    let behind = format!("?offset={}", information.len());
    assert_eq!(client.refused("GET", "/v1/content-information/{id}", &opened["id"], &behind, b""), "no_more");

    let tag = "0123456789abcdef0123456789abcdef";
    let open = client.json("POST", "/v1/contents", "", &format!("?tag={tag}"), b"")["id"].clone();
    assert_eq!(client.refused("POST", "/v1/contents", "", "?tag=0", b""), "bad_request");
    assert_eq!(client.refused("POST", "/v1/contents", "", "", b"\x03\x03what"), "version_unsupported");
    assert_eq!(client.refused("GET", "/v1/contents/{id}/data", &open, "?position=0", b""), "not_initialized");
    client.json("POST", "/v1/contents/{id}/content-information", &open, "?more=true", &information[..10]);
    client.json("POST", "/v1/contents/{id}/content-information", &open, "", &information[10..]);
    assert_eq!(client.refused("POST", "/v1/contents/{id}/content-information", &open, "", b""), "already_completed");
    client.json("GET", "/v1/contents/{id}", &open, "", b"");
    let missing = client.json("GET", "/v1/contents/{id}/data", &open, "?position=0", b"");
    assert_eq!((&missing["reason"], &missing["missing"]["first"]), (&json!("nobody_answered"), &json!(0)));
    assert_eq!(client.refused("GET", "/v1/contents/{id}/data", &open, "?position=200000", b""), "no_more");
    assert_eq!(client.refused("GET", "/v1/contents/{id}/data", &open, "?position=0&max=0", b""), "bad_request");
    assert_eq!(client.refused("PUT", "/v1/contents/{id}/data", &open, "?offset=0", &[0; 70_000]), "wrong_hash");
    assert_eq!(client.refused("PUT", "/v1/contents/{id}/data", &open, "?offset=200000", b"x"), "out_of_bounds");
    client.api("PUT", "/v1/contents/{id}/data", &open, "?offset=0", &bytes);
    let read = client.api("GET", "/v1/contents/{id}/data", &open, "?position=3&timeout=0", b"");
    assert_eq!(read.headers["peerdist-source"], "cache");
    assert_eq!(read.headers["peerdist-range"], format!("3-{}", read.body.len() + 2));
    assert_eq!(read.headers["content-length"], read.body.len().to_string());
    assert!(bytes[3..].starts_with(&read.body) && !read.body.is_empty());
    let available = client.json("GET", "/v1/contents/{id}/available", &open, "?position=1", b"");
    assert_eq!(available["bytes"], 199_999);
    let why = client.json("GET", "/v1/contents/{id}/why", &open, "", b"");
    assert_ne!((&why["probes"], &why["segments"]), (&json!([]), &json!([])));

    assert_eq!(client.admin("GET", "/v1/cache", "")["blocks"], 4);
    assert_eq!(client.admin("GET", "/v1/cache/segments", "?limit=1")["segments"][0]["blocks"], 4);
    assert_eq!(client.admin("GET", "/v1/cache/segments", "?after=x")["error"], "bad_request");
    assert_eq!(client.admin("GET", "/v1/why", "")[0]["open"], true);
    assert_eq!(client.admin("POST", "/v1/cache/verify", "")["blocks"], 4);
    let status = client.admin("GET", "/v1/status", "");
    assert_eq!(status["discovery"]["interfaces"][0]["name"], "lo");
    client.admin("GET", "/metrics", "");
    client.admin("GET", "/v1/capture", "?count=0");
    for wrong in ["?protocol=all", "?snaplen=0", "?snaplen=262145"] {
        assert_eq!(client.admin("GET", "/v1/capture", wrong)["error"], "bad_request", "{wrong}");
    }
    client.admin("GET", "/v1/openapi.json", "");
    assert_eq!(client.admin("GET", "/v1/features", "")["features"][0]["name"], "PeerDist");
    let admin = client.home.admin_socket();
    for (verb, names, refused) in [
        ("enable", br#"{"names":["SMBHashGeneration"]}"#.as_slice(), None),
        ("disable", br#"{"names":["smbhashgeneration"]}"#, None),
        ("enable", br#"{"names":["Telnet"]}"#, Some("unknown_feature")),
        ("disable", b"x", Some("bad_request")),
    ] {
        let path = format!("/v1/features/{verb}");
        let answer: Value = serde_json::from_slice(&client.ask(&admin, "POST", &path, &path, names).body).unwrap();
        assert_eq!(answer["error"].as_str(), refused);
    }
    client.admin("POST", "/v1/reload", "");
    client.json("GET", "/v1/status", "", "", b"");

    assert_eq!(client.refused("DELETE", "/v1/tags/{tag}", "0", "", b""), "bad_request");
    assert_eq!(client.json("DELETE", "/v1/tags/{tag}", tag, "", b"")["blocks"], 4);
    client.admin("POST", "/v1/cache/clear", "");
    client.api("DELETE", "/v1/contents/{id}", &open, "", b"");
    assert_eq!(client.refused("GET", "/v1/contents/{id}", &open, "", b""), "no_content");
    client.api("DELETE", "/v1/publications/{identifier}", "6869", "", b"");
    assert_eq!(client.refused("GET", "/v1/content-information/{id}", &opened["id"], "", b""), "invalidated");
    assert_eq!(client.refused("DELETE", "/v1/publications/{identifier}", "6869", "", b""), "not_published");
    client.api("DELETE", "/v1/content-information/{id}", &opened["id"], "", b"");
    client.api("DELETE", "/v1/sessions", "", "", b"");
    assert_eq!(client.refused("DELETE", "/v1/sessions", "", "", b""), "no_session");

    let mut described = BTreeSet::new();
    for (path, item) in client.document.0["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let successes = operation["responses"].as_object().unwrap().keys().filter(|status| status.starts_with('2'));
            described.extend(successes.map(|status| (path.clone(), method.clone(), status.clone())));
        }
    }
    assert_eq!(client.seen, described);
}

fn value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// One of each type of the wire, and of those with something optional one without it.
fn samples() -> Vec<(&'static str, Value)> {
    let (id, bytes) = (HandleId::of(1), wire::Bytes { first: 0, last: 9 });
    let identifier = || Identifier(vec![0, 255]);
    let info = StatusInfo::of(Status::Available);
    let segment = || SegmentLine {
        id: "00".repeat(32),
        blocks: 1,
        block_count: 2,
        bytes: 3,
        age_seconds: 4,
        trust: Trust::Bound,
    };
    vec![
        ("HandleId", value(id)),
        ("Identifier", value(identifier())),
        ("Event", value(Event::Session { token: Token::of("0".repeat(32)) })),
        ("Event", value(Event::Status(info))),
        ("Event", value(Event::Stopping)),
        ("Bytes", value(bytes)),
        ("Opened", value(Opened { id, range: Some(bytes) })),
        ("Opened", value(Opened { id, range: None })),
        ("ContentState", value(ContentState { flash_crowd: true })),
        ("Available", value(Available { bytes: 1 })),
        ("Flushed", value(Flushed { blocks: 1 })),
        ("Publish", value(Publish { identifier: identifier(), length: 1, version: 1 })),
        ("StreamOpened", value(StreamOpened { id })),
        ("Length", value(Length { length: 1 })),
        (
            "Publications",
            value(Publications { publications: vec![PublicationLine { identifier: identifier(), length: 1 }] }),
        ),
        ("PublicationLine", value(PublicationLine { identifier: identifier(), length: 1 })),
        (
            "OpenInformation",
            value(OpenInformation { identifier: identifier(), offset: 1, length: 2, min_version: 1, max_version: 2 }),
        ),
        ("InformationOpened", value(InformationOpened { id, size: 1 })),
        ("Described", value(Described { range: Some(bytes) })),
        ("Described", value(Described { range: None })),
        ("NotThere", value(NotThere { missing: bytes, reason: MissingReason::TooSlow })),
        ("SegmentPage", value(SegmentPage { segments: vec![segment()], next: Some("00".repeat(32)) })),
        ("SegmentPage", value(SegmentPage { segments: vec![segment()], next: None })),
        ("SegmentLine", value(segment())),
        ("PublicStatus", value(PublicStatus { info, version: "1".to_owned() })),
        ("Cleared", value(Cleared { segments: 1, blocks: 2, bytes: 3 })),
        ("Reloaded", value(Reloaded { applied: vec!["a".to_owned()], needs_restart: Vec::new() })),
        ("Refusal", value(Refusal { error: ErrorCode::Quota, code: 8, message: "full".to_owned() })),
        ("ErrorCode", value(ErrorCode::Quota)),
    ]
}

/// The types of a source that can be serialised.
fn serialisable(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut is_serialised = false;
    for line in source.lines() {
        is_serialised |= line.starts_with("#[derive(") && line.contains("Serialize");
        let item = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        if let Some(item) = item {
            let name = item.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
            found.extend(std::mem::take(&mut is_serialised).then_some(name));
        }
        found.extend(line.strip_prefix("impl Serialize for ").and_then(|rest| rest.split(' ').next()));
    }
    found
}

#[test]
fn types_of_the_wire_have_the_members_of_their_schemas() {
    let home = Home::new("");
    let _daemon = home.start();
    let document = document(&home);
    let samples = samples();
    for (name, sample) in &samples {
        assert_eq!(document.mistakes(name, sample), Vec::<String>::new(), "{name}");
        let mut more = sample.clone();
        if let Some(members) = more.as_object_mut() {
            members.insert("surplus".to_owned(), json!(1));
            assert_ne!(document.mistakes(name, &more), Vec::<String>::new(), "{name} takes anything");
        }
    }
    let mut known = serialisable(include_str!("../../src/control/wire.rs"));
    // It is a member of others, and written down there.
    assert!(known.remove("Token"));
    assert_eq!(samples.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), known);
}

#[test]
fn requests_may_leave_out_what_the_document_says() {
    let home = Home::new("");
    let _daemon = home.start();
    let document = document(&home);
    let least = json!({ "identifier": "00ff" });
    let publish: Publish = serde_json::from_value(least.clone()).unwrap();
    let open: OpenInformation = serde_json::from_value(least.clone()).unwrap();
    for (name, whole) in [("Publish", value(publish)), ("OpenInformation", value(open))] {
        let schema = &document.0["components"]["schemas"][name];
        assert_eq!(schema["required"], json!(["identifier"]));
        assert_eq!(schema["additionalProperties"], false);
        for (member, said) in
            schema["properties"].as_object().unwrap().iter().filter(|(member, _)| *member != "identifier")
        {
            assert_eq!(whole[member], said["default"], "{name}: {member}");
        }
    }
    let surplus = json!({ "identifier": "00", "surplus": 1 });
    assert!(serde_json::from_value::<Publish>(surplus.clone()).is_err());
    assert!(serde_json::from_value::<OpenInformation>(surplus).is_err());
}

#[test]
fn the_status_of_a_hosted_client_is_as_described() {
    let home = Home::new("");
    let _daemon = home.start();
    let document = document(&home);
    let fresh = ServerStatus {
        name: "cache".to_owned(),
        addresses: Vec::new(),
        has_no_list: false,
        lookup_error: None,
        state: ServerState::NotAsked,
        out: None,
        out_for_s: None,
        asked: 8,
        failures: 9,
        lists: 1,
        segments_listed: 2,
        blocks: 3,
        bytes: 4,
        last_error: None,
        last_error_age_s: None,
        waiting: 5,
        offers_sent: 6,
        offers_answered: 7,
        offers_failed: BTreeMap::new(),
        no_offers_for_s: None,
        last_offer_error: None,
        last_offer_error_age_s: None,
    };
    let failing = ServerStatus {
        addresses: vec!["192.0.2.1:80".parse().unwrap()],
        lookup_error: Some("not found".to_owned()),
        state: ServerState::LeftAlone,
        out: Some(OutCause::Failures),
        out_for_s: Some(5),
        last_error: Some("unreachable".to_owned()),
        last_error_age_s: Some(1),
        offers_failed: BTreeMap::from([("unreachable".to_owned(), 1)]),
        no_offers_for_s: Some(30),
        last_offer_error: Some("unreachable".to_owned()),
        last_offer_error_age_s: Some(1),
        ..fresh.clone()
    };
    let status = HostedClientStatus {
        version: "2.0".to_owned(),
        fallback: Fallback::Origin,
        lists: 1,
        segments_listed: 2,
        blocks: 3,
        bytes: 4,
        offers: OffersStatus::default(),
        servers: vec![fresh, failing],
    };
    assert_eq!(document.mistakes("HostedClientStatus", &value(status)), Vec::<String>::new());
}

/// The variants of an enum as its source names them, with `separator` before the second word and those behind it.
fn variants(source: &str, name: &str, separator: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let words = lines.map(|line| line.split([',', ' ']).next().unwrap());
    let spelled = words.map(|word| {
        let mut spelled = String::new();
        for letter in word.chars() {
            if letter.is_ascii_uppercase() && !spelled.is_empty() {
                spelled += separator;
            }
            spelled.push(letter.to_ascii_lowercase());
        }
        spelled
    });
    spelled.collect()
}

#[test]
fn enumerations_are_whole() {
    let home = Home::new("");
    let _daemon = home.start();
    let document = document(&home);
    let said = |pointer: &str| -> BTreeSet<String> {
        let schema = document.0["components"]["schemas"].pointer(pointer).unwrap();
        let values = schema.as_array().unwrap().iter().map(|value| value.get("const").unwrap_or(value));
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    let (why, status) = (include_str!("../../src/fetch/why.rs"), include_str!("../../src/api/status.rs"));
    let types = include_str!("../../src/store/types.rs");
    let hosted_client = include_str!("../../src/hosted_client/status.rs");
    assert_eq!(said("/MissingReason/oneOf"), variants(why, "MissingReason", "_"));
    assert_eq!(said("/Noted/properties/note/enum"), variants(why, "PeerNote", "_"));
    assert_eq!(said("/ServerAnswer/properties/note/enum"), variants(why, "ServerNote", "_"));
    assert_eq!(said("/Status/oneOf"), variants(status, "Status", "_"));
    assert_eq!(said("/HostedCacheOfClient/properties/state/enum"), variants(hosted_client, "ServerState", "_"));
    assert_eq!(said("/Trust/oneOf"), variants(types, "Trust", ""));
    assert_eq!(said("/StoreStats/properties/paused/oneOf/0/enum"), variants(types, "Refusal", "-"));
}

//! Heads, bodies and what is missing of them, in pieces of any size.

use super::*;

fn read(pieces: &[Piece<'_>]) -> Vec<Received<()>> {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    let mut budget = Budget::new(1 << 20);
    let mut wish =
        |head: &Head| Wish { has_body: head.start != Start::Response { status: 304 }, keep: 1 << 16, context: () };
    for (now, piece) in pieces.iter().enumerate() {
        let mut piece = *piece;
        while let Some(message) = reader.next(&mut piece, now as u64, &mut budget, &mut wish) {
            out.push(message);
        }
    }
    out
}

fn bodies(received: &[Received<()>]) -> Vec<(&str, bool)> {
    let body = |message: &'_ Received<()>| {
        (std::str::from_utf8(&message.body).unwrap().to_owned().leak() as &str, message.cut.is_some())
    };
    received.iter().map(body).collect()
}

const TWO: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\nPOST /b HTTP/1.1\r\n\
    Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n01\r\nf\r\n0\r\nTrailer: 1\r\n\r\nGET /c HTTP/1.1\r\n\r\n";

#[test]
fn messages_come_out_of_pieces_of_any_size() {
    for size in 1..TWO.len() {
        let pieces: Vec<_> = TWO.chunks(size).map(Piece::Data).collect();
        let received = read(&pieces);
        assert_eq!(bodies(&received), [("abc", false), ("def", false), ("", false)], "{size}");
    }
}

#[test]
fn a_head_keeps_no_memory_for_what_follows_it() {
    let head = b"HTTP/1.1 304 Not Modified\r\n\r\n";
    let received = read(&[Piece::Data(&head.repeat(100))]);
    assert_eq!(received.len(), 100);
    assert!(received.iter().all(|message| message.head.bytes.capacity() < 2 * head.len()));
}

#[test]
fn a_response_may_end_with_the_connection() {
    let head = b"HTTP/1.0 200 OK\r\n\r\n";
    let received = read(&[Piece::Data(head), Piece::Data(b"abc"), Piece::Data(b"def"), Piece::End]);
    assert_eq!(bodies(&received), [("abcdef", false)]);
    assert_eq!((received[0].began, received[0].ended), (0, 3));
    let none = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(bodies(&read(&[Piece::Data(none), Piece::Data(none)])).len(), 2);
}

#[test]
fn what_is_missing_cuts_one_message_alone() {
    let head = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab";
    let next = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nz";
    let received = read(&[Piece::Data(head), Piece::Gap(3), Piece::Data(b"cdef"), Piece::Data(next)]);
    assert_eq!(bodies(&received), [("ab", true), ("z", false)]);
    let received = read(&[Piece::Data(head), Piece::Gap(30), Piece::Data(b"cdef"), Piece::Data(next)]);
    assert_eq!(bodies(&received), [("ab", true), ("z", false)]);
    let received = read(&[Piece::Data(head), Piece::End]);
    assert_eq!(bodies(&received), [("ab", true)]);
}

#[test]
fn other_protocols_and_bad_chunks_are_left_alone() {
    assert!(read(&[Piece::Data(b"\x16\x03\x01\x02\x00"), Piece::Data(&[0; 1000]), Piece::End]).is_empty());
    assert!(read(&[Piece::Data(b"SSH-2.0-x\r\n\r\n")]).is_empty());
    for bad in ["zz\r\n", "-1\r\n", "+1\r\n", "1\r\nabc"] {
        let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
        let received = read(&[Piece::Data(text.as_bytes()), Piece::Data(TWO)]);
        assert_eq!(received.len(), 4, "{bad}");
        assert!(received[0].cut.is_some());
    }
    let long = "a".repeat(MAX_HEAD);
    let text = format!("POST / HTTP/1.1\r\nX: {long}\r\n\r\n");
    assert_eq!(read(&[Piece::Data(text.as_bytes()), Piece::Data(TWO)]).len(), 3);
}

#[test]
fn heads_that_http_does_not_allow_are_read_as_far_as_they_go() {
    let bad = [
        "POST / HTTP/1.1\r\nX: a\r\n b\r\nContent-Length: 3\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nX: a\x7f\x01\r\nContent-Length: 3\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\n(X): a\r\nContent-Length: 3\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nno colon\r\nContent-Length: 3\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\n{}Content-Length: 3\r\n\r\n", "A: b\r\n".repeat(MAX_HEADERS)),
    ];
    for head in bad {
        for size in [1, 1000] {
            let text = format!("{head}abcGET / HTTP/1.1\r\n\r\n");
            let pieces: Vec<_> = text.as_bytes().chunks(size).map(Piece::Data).collect();
            let received = read(&pieces);
            assert_eq!(bodies(&received), [("abc", false), ("", false)], "{head}");
            assert_eq!(received.iter().map(|message| message.head.fault.is_some()).collect::<Vec<_>>(), [true, false]);
        }
    }
    // Lines may end with LF alone.
    let text = "POST / HTTP/1.1\nContent-Length: 3\n\nabc";
    let received = read(&[Piece::Data(text.as_bytes())]);
    assert_eq!((bodies(&received), received[0].head.fault), (vec![("abc", false)], None));
}

#[test]
fn nothing_but_blanks_and_tabs_stands_around_numbers_and_names() {
    let head = |header: &str| format!("POST / HTTP/1.1\r\n{header}\r\n\r\n");
    let good = ["Content-Length: \t3 ", "Content-Length:3", "Transfer-Encoding:\tchunked , x"];
    for header in good {
        let body = if header.starts_with('C') { "abc" } else { "\t3 ;x\r\nabc\r\n0\r\n\r\n" };
        let received = read(&[Piece::Data((head(header) + body).as_bytes())]);
        assert_eq!(bodies(&received), [("abc", false)], "{header:?}");
    }
    for blank in ["\u{a0}", "\u{2003}", "\u{b}", "\u{c}", "\u{85}", "+"] {
        for header in [format!("Content-Length:{blank}3"), format!("Transfer-Encoding: {blank}chunked")] {
            // No body is announced.
            let received = read(&[Piece::Data(head(&header).as_bytes())]);
            assert_eq!(bodies(&received), [("", false)], "{header:?}");
        }
        let text = head("Transfer-Encoding: chunked") + blank + "3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(bodies(&read(&[Piece::Data(text.as_bytes())])), [("", true)], "{blank:?}");
    }
}

#[test]
fn heads_that_cannot_be_read_are_counted_and_other_protocols_are_not() {
    let mut reader = Reader::<()>::default();
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD));
    let nothing = ["GET /\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", &long];
    for text in nothing.into_iter().chain(["SSH-2.0-x\r\n\r\n", "GET1.2 / HTTP/1.1\r\n\r\n"]) {
        let mut piece = Piece::Data(text.as_bytes());
        let wish = &mut |_: &Head| panic!("{text}");
        assert!(reader.next(&mut piece, 0, &mut Budget::new(1000), wish).is_none());
    }
    assert_eq!(reader.unread(), 3);
}

#[test]
fn a_body_beyond_the_limit_has_its_size_and_says_so() {
    let text = [&b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n"[..], &[b'a'; 70_000]].concat();
    for size in [1000, 80_000] {
        let pieces: Vec<_> = text.chunks(size).map(Piece::Data).collect();
        let received = read(&pieces);
        let Received { body, size, cut, .. } = &received[0];
        assert_eq!((body.len(), *size, *cut), (1 << 16, 70_000, Some(TOO_LARGE)));
    }
}

//! Publishing: streams, publications, and content information of them.

use bytes::Bytes;
use peerdist_node::api::Wanted;
use peerdist_node::control::wire::ErrorCode;

use super::{code, describe, publish, read};
use crate::daemon::Home;
use crate::fixture::content;

#[tokio::test]
async fn what_one_program_publishes_another_one_reads() {
    let home = Home::new("");
    let _daemon = home.start();
    let publisher = home.session().await;
    let bytes = Bytes::from(content(300_000));
    let stream = publisher.publish(b"a\0name", 300_000, 2).await.unwrap();
    for start in (0..bytes.len()).step_by(70_001) {
        let end = bytes.len().min(start + 70_001);
        assert_eq!(stream.add(start as u64, bytes.slice(start..end)).await.unwrap(), end as u64);
    }
    assert_eq!(stream.complete().await.unwrap(), 300_000);
    stream.close().await.unwrap();

    for version in [1, 2] {
        let wanted = Wanted { min_version: version, max_version: version, ..Wanted::default() };
        let open = publisher.open_information(b"a\0name", &wanted).await.unwrap();
        let mut information = Vec::new();
        let end = loop {
            match open.retrieve(information.len() as u64, 7).await {
                Ok(piece) => {
                    assert!(!piece.is_empty() && piece.len() <= 7);
                    information.extend_from_slice(&piece);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(code(Err::<(), _>(end)), ErrorCode::NoMore);
        assert_eq!(information, open.retrieve(0, u64::MAX).await.unwrap());
        assert_eq!(information, describe(&publisher, b"a\0name", version, 0..300_000).await);
        // [MS-PCCRC] 2.3 and 2.4: the minor number comes first.
        assert_eq!(information[..2], [0, version as u8]);

        let reader = home.session().await;
        let content = reader.open_tagged([7; 16], "a name", Bytes::new()).await.unwrap();
        for byte in &information {
            assert_eq!(code(content.block_read(0, 1, super::HERE).await), ErrorCode::NotInitialized);
            content.add_piece(Bytes::copy_from_slice(&[*byte])).await.unwrap();
        }
        assert_eq!(content.complete(Bytes::new()).await.unwrap(), 0..300_000);
        assert_eq!(code(content.complete(Bytes::new()).await), ErrorCode::AlreadyCompleted);
        assert_eq!(content.available(0).await.unwrap(), 0, "publishing keeps no bytes");
        content.add_data(0, bytes.clone()).await.unwrap();
        assert_eq!(read(&content, 0..300_000).await, bytes);
    }
}

#[tokio::test]
async fn an_identifier_is_taken_until_it_is_given_back() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let other = home.session().await;
    let bytes = Bytes::from_static(b"bytes");
    let first = session.publish(b"name", 0, 2).await.unwrap();
    assert_eq!(code(other.publish(b"name", 0, 2).await), ErrorCode::AlreadyExists, "it is on its way");
    assert_eq!(code(session.open_information(b"name", &Wanted::default()).await), ErrorCode::NotPublished);
    first.add(0, bytes.clone()).await.unwrap();
    first.close().await.unwrap();
    assert!(session.publications().await.unwrap().is_empty());

    publish(&other, b"name", &bytes).await;
    assert_eq!(code(session.publish(b"name", 0, 2).await), ErrorCode::AlreadyExists, "it is published");
    for name in [b"nam".as_slice(), b"name\0", b"Name", &[0xff; 4096]] {
        publish(&session, name, &bytes).await;
    }
    for name in [b"".as_slice(), &[0xff; 4097]] {
        assert_eq!(code(session.publish(name, 0, 2).await), ErrorCode::BadRequest);
    }
    let names: Vec<_> = session.publications().await.unwrap().into_iter().map(|line| line.identifier.0).collect();
    assert_eq!(names, [b"Name".as_slice(), b"nam", b"name", b"name\0", &[0xff; 4096]]);
}

#[tokio::test]
async fn a_stream_takes_what_was_declared() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from_static(b"0123456789ab");
    let stream = session.publish(b"ten", 10, 1).await.unwrap();
    assert_eq!(code(stream.add(0, bytes.slice(..11)).await), ErrorCode::OutOfBounds);
    assert_eq!(stream.add(0, bytes.slice(..9)).await.unwrap(), 9, "nothing of that was added");
    assert_eq!(code(stream.complete().await), ErrorCode::OutOfBounds);
    assert_eq!(code(stream.add(8, bytes.slice(..1)).await), ErrorCode::BadRequest, "it is at another position");
    stream.add(9, bytes.slice(9..10)).await.unwrap();
    assert_eq!(stream.complete().await.unwrap(), 10);
    assert_eq!(code(stream.complete().await), ErrorCode::AlreadyCompleted);
    assert_eq!(code(stream.add(10, bytes.slice(..1)).await), ErrorCode::AlreadyCompleted);
    let newer = Wanted { min_version: 2, max_version: 2, ..Wanted::default() };
    assert_eq!(code(session.open_information(b"ten", &newer).await), ErrorCode::VersionUnsupported);
    let both = Wanted { min_version: 1, max_version: 2, ..Wanted::default() };
    assert!(session.open_information(b"ten", &both).await.is_ok());
    for (min_version, max_version) in [(2, 1), (0, 1), (1, 3)] {
        let wrong = Wanted { min_version, max_version, ..Wanted::default() };
        assert_eq!(code(session.open_information(b"ten", &wrong).await), ErrorCode::BadRequest);
    }

    let empty = session.publish(b"empty", 0, 2).await.unwrap();
    assert_eq!(code(empty.complete().await), ErrorCode::BadRequest);
    assert_eq!(code(session.publish(b"newest", 0, 3).await), ErrorCode::BadRequest);
}

#[tokio::test]
async fn what_is_unpublished_is_not_described_any_more() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let other = home.session().await;
    let bytes = Bytes::from(content(1000));
    publish(&session, b"name", &bytes).await;
    let own = session.open_information(b"name", &Wanted::default()).await.unwrap();
    let theirs = other.open_information(b"name", &Wanted::default()).await.unwrap();
    let unfinished = session.publish(b"unfinished", 0, 2).await.unwrap();
    unfinished.add(0, bytes.clone()).await.unwrap();

    session.unpublish(b"name").await.unwrap();
    session.unpublish(b"unfinished").await.unwrap();
    assert_eq!(code(session.unpublish(b"name").await), ErrorCode::NotPublished);
    assert_eq!(code(own.retrieve(0, 1).await), ErrorCode::Invalidated);
    own.close().await.unwrap();
    assert!(theirs.retrieve(0, 1).await.is_ok(), "operations of this session alone are ended");
    assert_eq!(code(other.open_information(b"name", &Wanted::default()).await), ErrorCode::NotPublished);
    assert_eq!(code(unfinished.add(1000, bytes.clone()).await), ErrorCode::Invalidated);
    assert_eq!(code(unfinished.complete().await), ErrorCode::Invalidated);
    assert!(session.publications().await.unwrap().is_empty());

    publish(&other, b"unfinished", &bytes).await;
    unfinished.close().await.unwrap();
    assert_eq!(session.publications().await.unwrap().len(), 1, "another stream's publication stays");
}

#[tokio::test]
async fn a_stream_is_cancelled_with_what_it_published() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(1000));
    let open = async |complete: bool| {
        let stream = session.publish(b"name", 0, 2).await.unwrap();
        stream.add(0, bytes.clone()).await.unwrap();
        if complete {
            stream.complete().await.unwrap();
        }
        stream
    };
    for complete in [false, true] {
        open(complete).await.cancel().await.unwrap();
        assert!(session.publications().await.unwrap().is_empty());
    }
    // Not what was published under its name by another one.
    let old = open(true).await;
    session.unpublish(b"name").await.unwrap();
    open(true).await.close().await.unwrap();
    old.cancel().await.unwrap();
    assert_eq!(session.publications().await.unwrap().len(), 1);
    assert_eq!(code(old.cancel().await), ErrorCode::NoContent);
}

#[tokio::test]
async fn publications_end_with_their_session() {
    let home = Home::new("");
    let _daemon = home.start();
    let bytes = Bytes::from(content(1000));
    let witness = home.session().await;
    publish(&witness, b"stays", &bytes).await;
    let names = async || -> Vec<Vec<u8>> {
        witness.publications().await.unwrap().into_iter().map(|line| line.identifier.0).collect()
    };

    let ended = home.session().await;
    publish(&ended, b"goes", &bytes).await;
    assert_eq!(names().await, [b"goes".as_slice(), b"stays"]);
    ended.end().await.unwrap();
    assert_eq!(names().await, [b"stays"]);
    assert_eq!(code(ended.publications().await), ErrorCode::NoSession);
    assert_eq!(code(ended.end().await), ErrorCode::NoSession);
    let mut ended = ended;
    while ended.next_event().await.unwrap().is_some() {}

    let dropped = home.session().await;
    publish(&dropped, b"goes", &bytes).await;
    let half = dropped.publish(b"half", 0, 2).await.unwrap();
    half.add(0, bytes.clone()).await.unwrap();
    drop(dropped);
    // The daemon learns of it from the closed stream.
    while names().await != [b"stays"] {}
    while super::held(&home, "publications").await != 1 {}
    publish(&witness, b"half", &bytes).await;
}

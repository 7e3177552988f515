//! What is logged of hosts that lie.

use std::io;
use std::sync::{Arc, Mutex};

use peerdist_protocol::content::CryptoAlgoId;
use peerdist_protocol::retrieval::BlkTail;

use crate::descriptor;
use crate::support::{Blocks, Host, Hosted, opaque};

/// What was logged on this thread, which has all tasks of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn that_hosts_are_out_is_logged_once_a_minute_however_many_they_are() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let hosted = Hosted::start(|_| {}).await;
    for (number, out) in (2..=4).zip(1..) {
        let liar = Host::start(number, Blocks::default()).await;
        let segments: Vec<_> = (0..20).map(|index| descriptor(number * 20 + index, 1000)).collect();
        for segment in &segments {
            let wrong = BlkTail::from(&opaque(10, CryptoAlgoId::Aes128, 1));
            liar.blocks.insert(segment.segment_id, 0, wrong);
        }
        hosted.offer(&liar, &segments).await;
        hosted.until("it to be out", |status| status.sources_out == out && status.pulling == 0).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("too much of it was wrong")).collect();
    assert!(matches!(&lines[..], [line] if line.contains("INFO") && line.contains("127.0.0.2")), "{lines:?}");
}

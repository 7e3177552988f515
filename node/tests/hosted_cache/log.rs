//! What is logged of hosts that lie.

use peerdist_protocol::content::CryptoAlgoId;
use peerdist_protocol::retrieval::BlkTail;

use crate::descriptor;
use crate::logged::Log;
use crate::support::{Blocks, Host, Hosted, opaque};

#[tokio::test]
async fn that_hosts_are_out_is_logged_once_a_minute_however_many_they_are() {
    let (log, _guard) = Log::start();
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
    let lines = log.with("too much of it was wrong");
    assert!(matches!(&lines[..], [line] if line.contains("INFO") && line.contains("127.0.0.2")), "{lines:?}");
}

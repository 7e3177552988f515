//! Publishing.

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t86_what_is_published_comes_back_byte_for_byte() {
    case("server::t86_what_is_published_comes_back_byte_for_byte", |_| {
        let instance = startup();
        let content = bytes(700_001);
        for version in [1, 2] {
            let name = [b'n', version as u8];
            let handle = cached(instance, 1, &name, &content, version);
            let mut back = Vec::new();
            while back.len() < content.len() {
                let (ended, piece) = read(instance, handle, back.len() as u64, 200_000, 0);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, back.len() as u64));
                back.extend_from_slice(&piece);
            }
            assert_eq!(back, content);
        }
    });
}

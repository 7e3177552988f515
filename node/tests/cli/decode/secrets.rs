//! Segment secrets, which `peerdist decode` shows on demand only.

use super::{decode, vector};

#[test]
fn secrets_are_shown_on_demand_only() {
    let information = vector("pccrc/iis_85_png_v1.bin");
    let secret = "11AFC0D7949243F94F9C1FAB35D9FD1E331FCF7811A2E01D3587B38D770A29E2";
    for words in [&[][..], &["--json"]] {
        let hidden = decode(&information, words).stdout();
        assert!(!hidden.to_uppercase().contains(secret) && hidden.contains("hidden"));
        assert!(
            hidden.contains("491B217DBEE2B5F12CA79B015E06F4BBE64F9745BAD7867AEF17DE59927EDCE9"),
            "the id: {hidden}"
        );
        assert!(decode(&information, &[words, &["--secrets"]].concat()).stdout().contains(secret));
    }
}

#[test]
fn a_secret_that_is_cut_off_or_lies_behind_what_cannot_be_read_is_hidden_as_well() {
    let [v1, v2] = ["iis_85_png_v1", "iis_85_png_v2"].map(|name| vector(&format!("pccrc/{name}.bin")));
    let offer = vector("pchc/segment_info_sha256_two_blocks.bin");
    let mut unknown = v1.clone();
    unknown[2] = 0x0B;
    // Where the secret begins, and how much of the message there is.
    let cases = [
        ("CONTENT_INFORMATION_1.0", &v1, 66, 85),
        // Nobody knows the size of a hash that does not exist.
        ("CONTENT_INFORMATION_1.0", &unknown, 66, unknown.len()),
        ("CONTENT_INFORMATION_2.0", &v2, 72, 90),
        ("SEGMENT_INFO_MESSAGE", &offer, 98, 98 + 20),
    ];
    for (form, bytes, at, size) in cases {
        let (bytes, part) = (&bytes[..size], hex::encode_upper(&bytes[at..at + 12]));
        for style in [&[][..], &["--full"], &["--json"], &["--json", "--layout"]] {
            let words = [&["--as", form], style].concat();
            let hidden = decode(bytes, &words).stdout();
            assert!(!hidden.contains(&part) && hidden.contains("hidden"), "{form}: {hidden}");
            let style = if style.is_empty() { &["--full"] } else { style };
            let shown = decode(bytes, &[&["--as", form, "--secrets"], style].concat()).stdout();
            assert!(shown.contains(&part) && !shown.contains("hidden"), "{form}: {shown}");
        }
    }
    // A message of the wrong type.
    let mut offer = offer;
    offer[3] = 1;
    let (secret, words) = (hex::encode_upper(&offer[98..130]), ["--as", "INITIAL_OFFER_MESSAGE", "--full"]);
    let hidden = decode(&offer, &words).stdout();
    assert!(!hidden.contains(&secret) && hidden.contains("hidden") && hidden.contains("182 bytes, where"), "{hidden}");
    assert!(decode(&offer, &[&words[..], &["--secrets"]].concat()).stdout().contains(&secret));
    // Elsewhere what could not be read is no secret.
    let cut = decode(&vector("pccrr/getblks_block0.bin")[..30], &[]).stdout();
    assert!(cut.contains("(not read)") && !cut.contains("hidden"), "{cut}");
}

#[test]
fn a_secret_of_another_size_is_refused_and_not_repeated() {
    let id = "0A".repeat(32);
    let mut given = vec![format!("{id}={}", "C0FFEE".repeat(16))];
    for secret in ["C0FFEE".to_owned(), "C0FFEE".repeat(17), "C0FFEE0".repeat(9) + "X"] {
        given.extend([format!("{id}={secret}"), format!("{secret}={secret}"), secret]);
    }
    for given in given {
        let said = decode(b"", &["--secret", &given]).error(2);
        assert!(said.contains("--secret is SEGMENT_ID=HEX") && !said.contains("C0FFEE"), "{said}");
    }
}

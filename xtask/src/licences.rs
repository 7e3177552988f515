//! Licences that dependencies may have.

use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};

use crate::rules::Violation;

/// Permissive licences, none of which asks more of a binary than a notice; MPL-2.0 asks for changes of its own files.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every package of the graph whose licence expression the allowed ones do not satisfy.
pub(crate) fn violations(metadata: &Metadata) -> Vec<Violation> {
    let refused = metadata.packages.iter().filter(|package| !allowed(package.license.as_deref()));
    refused
        .map(|package| Violation::Licence {
            package: format!("{} {}", package.name, package.version),
            licence: package.license.clone().unwrap_or_else(|| "none given".to_owned()),
        })
        .collect()
}

fn allowed(licence: Option<&str>) -> bool {
    // Lax: older manifests write "MIT/Apache-2.0".
    let Some(Ok(expression)) = licence.map(|licence| Expression::parse_mode(licence, ParseMode::LAX)) else {
        return false;
    };
    expression.evaluate(|requirement| requirement.license.id().is_some_and(|licence| ALLOWED.contains(&licence.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_with_their_operators() {
        assert!(allowed(Some("MIT")));
        assert!(allowed(Some("MIT/Apache-2.0")));
        assert!(allowed(Some("GPL-3.0-only OR MIT")));
        assert!(allowed(Some("(MIT OR Apache-2.0) AND Unicode-3.0")));
        assert!(allowed(Some("Apache-2.0 WITH LLVM-exception")));
    }

    #[test]
    fn what_is_not_on_the_list_is_refused() {
        assert!(!allowed(None));
        assert!(!allowed(Some("GPL-3.0-only")));
        assert!(!allowed(Some("MIT AND AGPL-3.0-only")));
        assert!(!allowed(Some("a licence of my own")));
    }
}

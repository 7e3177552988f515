//! Arguments that make no sense, of every function.

use crate::support::programs::{beside, compiled};
use crate::support::*;

#[test]
fn null_is_refused_wherever_something_is_needed() {
    case("arguments::null_is_refused_wherever_something_is_needed", |world| {
        let program = compiled(world, "nulls");
        let ran = beside(world, &program).output().unwrap();
        assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    });
}

//! Any message is a response or is refused; what was read is written back to the same bytes it is then read from.
#![no_main]

use bytes::BytesMut;
use dqlite::{BodyLimit, ClusterFormat, Dialect, Frame, Response, RowsStep, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let dialect = Dialect {
        version: if choice & 1 == 0 { Version::One } else { Version::Legacy },
        cluster: if choice & 2 == 0 { ClusterFormat::Roles } else { ClusterFormat::Addresses },
    };
    let mut input = BytesMut::from(data);
    while let Ok(Some(frame)) = Frame::take(&mut input, BodyLimit::DEFAULT) {
        let Ok(response) = Response::decode(&frame, dialect) else { continue };
        if let Response::Rows(mut rows) = response.clone() {
            let mut row = Vec::new();
            while let Ok(RowsStep::Row) = rows.next(&mut row) {}
        }
        let mut once = BytesMut::new();
        response.encode(&mut once, dialect);
        let mut rest = once.clone();
        let again = Frame::take(&mut rest, BodyLimit::MAX).expect("a frame").expect("a whole frame");
        assert!(rest.is_empty());
        let mut twice = BytesMut::new();
        Response::decode(&again, dialect).expect("what was encoded decodes").encode(&mut twice, dialect);
        assert_eq!(once, twice);
    }
});
